"""Embedder, reranker and writer of contexts without a model, for tests of what needs one."""

import re
import zlib
from array import array
from collections.abc import Mapping, Sequence
from math import hypot

from rag.embed import Use
from rag.embedding_wire import Counted, Vector
from rag.scripts import reads
from rag.tokenizer import TokenizerSource


class InMemoryEmbedder:
    """The in-memory twin of `rag.embed.Embedder`: hashed words, so that equal words are near.

    Attributes:
        asked: Every text it was asked for, in order.
    """

    def __init__(
        self,
        *,
        model: str = "in-memory",
        languages: Sequence[str] = ("en",),
        dimensions: int = 64,
        max_tokens: int = 256,
    ) -> None:
        self._model = model
        self._languages = tuple(languages)
        self._dimensions = dimensions
        self._max_tokens = max_tokens
        self.asked: list[str] = []

    @property
    def model(self) -> str:
        """The model's name."""
        return self._model

    @property
    def space(self) -> str:
        """What must be equal for two vectors to be comparable."""
        return f"{self._model} {','.join(self._languages)}"

    @property
    def dimensions(self) -> int:
        """Numbers per vector."""
        return self._dimensions

    @property
    def max_tokens(self) -> int | None:
        """Tokens read of one text: a promise, longer ones are read too."""
        return self._max_tokens

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it was given."""
        return self._languages

    def knows(self, text: str) -> bool:
        """Tell whether the text is in a script of the languages."""
        return reads(self._languages, text)

    async def embed(self, texts: Sequence[str], kind: Use = "document") -> list[Vector]:
        """Return one vector per text, the same whatever it is for."""
        del kind
        self.asked += texts
        return [self._vector(text) for text in texts]

    async def embed_whole(self, texts: Sequence[str]) -> Counted:
        """Return one vector per text; a word is a token."""
        return Counted(await self.embed(texts), sum(len(text.split()) for text in texts))

    async def tokenizer(self) -> TokenizerSource:
        """Return that tokens are estimated."""
        return TokenizerSource(limit=self._max_tokens)

    async def check(self) -> None:
        """Ask as anybody would: there is no memory to pass."""
        await self.embed(["ready?"])

    async def close(self) -> None:
        """Nothing is open."""

    def _vector(self, text: str) -> Vector:
        values = [0.0] * self._dimensions
        for word in _words(text) or [""]:
            values[zlib.crc32(word.encode("utf-8", "replace")) % self._dimensions] += 1
        length = hypot(*values)
        return array("f", [value / length for value in values])


class InMemoryReranker:
    """The in-memory twin of `rag.rerank.Reranker`: the share of the question's words in a text.

    Attributes:
        asked: Every question with its texts, in order.
    """

    def __init__(self, *, model: str = "in-memory-reranker") -> None:
        self._model = model
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    @property
    def model(self) -> str:
        """The model's name."""
        return self._model

    async def rerank(
        self, query: str, texts: Sequence[str], *, max_tokens: int | None = None
    ) -> list[float]:
        """Return a score for each text; a word is a token."""
        self.asked.append((query, tuple(texts)))
        wanted = set(_words(query))
        found = [set(_words(text)[:max_tokens]) for text in texts]
        return [len(wanted & words) / len(wanted) if wanted else 0.0 for words in found]

    async def check(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """Nothing is open."""


class InMemoryContextWriter:
    """The in-memory twin of `rag.context.ContextWriter`: what it was given for a chunk's word.

    Attributes:
        asked: Every document with its chunk, in order.
    """

    def __init__(self, contexts: Mapping[str, str], *, model: str = "in-memory-writer") -> None:
        self.model = model
        self.max_tokens = 32
        self.asked: list[tuple[str, str]] = []
        self._contexts = contexts

    async def write(self, document: str, chunk: str) -> str:
        """Return the context of the first word that the chunk holds; empty without."""
        self.asked.append((document, chunk))
        return next((said for word, said in self._contexts.items() if word in chunk), "")

    async def close(self) -> None:
        """Nothing is open."""


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
