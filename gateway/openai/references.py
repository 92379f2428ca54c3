"""References: where an answer's `[n]` comes from."""

import msgspec


class Reference(msgspec.Struct):
    """A cited passage.

    `index` is the n of its `[n]`; `content` is the text from `start` to `end` (characters) of the
    page, or of the document where the format has no pages (`page` is null then).
    """

    index: int
    source: str
    page: int | None
    content: str
    score: float
    document_id: str
    chunk_id: str
    start: int
    end: int
