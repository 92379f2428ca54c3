"""What can go wrong in retrieval.

- RagError
    - NotFound: no such file, vector store or file of a store, or another tenant's
    - NotAllowed: the caller is limited to some vector stores, and this would reach beyond them
    - StoreExpired: the vector store was not used for as long as its owner said
    - AlreadyAttached: the file is in the vector store, cut in another way
    - ReindexRefused: a store can't be read again in this way, or not now
    - SourceRefused: a source names what its tenant may not read, or nobody can
    - UnreadableDocument: this document can't be read; the reason is for its owner
    - TextRefused: the embedding model takes no such text
    - FilterRefused: a search's filter is not one; the message says what to change
    - FilesUnavailable: the bucket with files' bytes can't be used; try again later
    - EmbedderUnavailable: the embedding model gave no answer in time; try again later
    - RerankerUnavailable: the reranker gave no answer in time; try again later
"""


class RagError(Exception):
    """The root of this package's errors."""


class NotFound(RagError):
    """The caller has no such object: a foreign one is not told from a missing one.

    Attributes:
        what: `file`, `vector store`, `vector store file`, `file batch` or `source`.
        id: The id asked for.
    """

    def __init__(self, what: str, id: str) -> None:  # noqa: A002 - the object's own name for it
        super().__init__(f"no {what} with id {id!r}")
        self.what = what
        self.id = id


class NotAllowed(RagError):
    """What a caller limited to some vector stores may not do; the message says why."""


class StoreExpired(RagError):
    """The vector store was not used for as long as its owner said: nothing is found in it."""

    def __init__(self, store_id: str) -> None:
        super().__init__(f"the vector store {store_id!r} has expired: make another")


class AlreadyAttached(RagError):
    """The file is in the vector store already, cut in another way than is asked for."""

    def __init__(self, file_id: str) -> None:
        super().__init__(
            f"the file {file_id!r} is in this vector store already, with another chunking strategy:"
            " take it out first"
        )


class ReindexRefused(RagError):
    """A store can't be read again in this way, or not now; the message says what to change.

    Attributes:
        code: `model_not_found` or `reindex_in_progress`.
        param: The field at fault, or None.
    """

    def __init__(self, reason: str, *, code: str, param: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.param = param


class SourceRefused(RagError):
    """A source names what its tenant may not read, or nobody can; the message says what to change.

    Attributes:
        param: The field at fault, or None.
    """

    def __init__(self, reason: str, param: str | None = None) -> None:
        super().__init__(reason)
        self.param = param


class UnreadableDocument(RagError):
    """The document can't be read.

    Attributes:
        reason: One sentence its owner understands.
        code: OpenAI's name for the class of fault: `unsupported_file` or `invalid_file`.
    """

    def __init__(self, reason: str, *, code: str = "invalid_file") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class TextRefused(RagError):
    """The embedding model takes no such text; the message says why.

    Attributes:
        index: Which of the texts it was, or None.
        code: `context_length_exceeded`, or None.
    """

    def __init__(self, reason: str, *, index: int | None = None, code: str | None = None) -> None:
        super().__init__(reason)
        self.index = index
        self.code = code


class FilterRefused(RagError):
    """A filter that is not one; the message says what to change."""


class FilesUnavailable(RagError):
    """The bucket with files' bytes can't be used; the message, for its owner, says why."""


class EmbedderUnavailable(RagError):
    """The embedding model can't be reached, or gave no answer in time."""


class RerankerUnavailable(RagError):
    """The reranker gave no answer in time, or failed."""
