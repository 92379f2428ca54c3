"""Embeddings: from worker processes over Unix sockets, or from OpenAI-compatible URLs."""

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from config.settings import EmbeddingModelSettings, EmbeddingSettings
from config.tasks import end_task
from rag.embedding_sources import ApiSource, Source, WorkerSource
from rag.embedding_wire import Counted, Kind, Vector, worker_socket
from rag.scripts import reads
from rag.tokenizer import TokenizerSource

_REMEMBERED_QUESTIONS = 1024
_REMEMBERED_SENTENCES = 2_000_000
"""Numbers of their vectors, 8 MB: 5,000 sentences where a vector has 384."""

Use = Kind | Literal["sentence"]
"""What a text is for: a sentence is one of a document that was found."""


class Embedder(Protocol):
    """Turns texts into vectors of one space."""

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def space(self) -> str:
        """What must be equal for two vectors to be comparable: model, languages, own prompt."""

    @property
    def dimensions(self) -> int:
        """Numbers per vector; 0 until the model has answered for the first time."""

    @property
    def max_tokens(self) -> int | None:
        """Tokens the model reads of one text, special ones and prompt included.

        None until it has answered for the first time, and where there is no limit.
        """

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1 codes of the languages the model knows."""

    def knows(self, text: str) -> bool:
        """Tell whether the model can read this text's script, as far as its languages say."""

    async def embed(self, texts: Sequence[str], kind: Use = "document") -> list[Vector]:
        """Return one vector per text; queries go before documents.

        Recent queries and sentences are remembered, each text on its own: what is asked often is
        found in the same passages.

        Raises:
            EmbedderUnavailable: The model can't be reached, or gave no answer in time.
        """

    async def embed_whole(self, texts: Sequence[str]) -> Counted:
        """Return one vector per text, taken without a prompt, and how many tokens the texts are.

        Raises:
            TextRefused: A text is longer than the model reads, or the model takes none like it.
            EmbedderUnavailable: The model can't be reached, or gave no answer in time.
        """

    async def tokenizer(self) -> TokenizerSource:
        """Return how the model counts documents, for `rag.tokenizer.open_tokenizer` anywhere.

        Raises:
            EmbedderUnavailable: The model can't be reached.
        """

    async def check(self) -> None:
        """Ask the model itself, past every memory.

        Raises:
            EmbedderUnavailable: It can't be reached, or gave no answer in time.
        """

    async def close(self) -> None:
        """Close the connection to the model."""


class Embedders:
    """The default model, and those kept beside it by name."""

    def __init__(self, default: Embedder, others: Mapping[str, Embedder] | None = None) -> None:
        self.default = default
        self.others = dict(others or {})

    @property
    def by_name(self) -> Mapping[str, Embedder]:
        """Return the models by name, the default first."""
        return {self.default.model: self.default} | self.others

    def named(self, name: str) -> Embedder | None:
        """Return the model of that name: of `embedding.others`, or the default's own."""
        return self.by_name.get(name)

    def of(self, space: str) -> Embedder | None:
        """Return the model whose vectors are comparable to those of `space`, if it is here."""
        return next((each for each in self.by_name.values() if each.space == space), None)

    async def check(self) -> None:
        """Ask every model itself.

        Raises:
            EmbedderUnavailable: One can't be reached, or gave no answer in time.
        """
        await asyncio.gather(*(each.check() for each in self.by_name.values()))

    async def close(self) -> None:
        """Close the connections to all models."""
        await asyncio.gather(*(each.close() for each in self.by_name.values()))


def open_embedders(settings: EmbeddingSettings, sockets: Path) -> Embedders:
    """Return the embedders the settings name; they connect at first use, and again when they must.

    `sockets` is the folder where the workers listen.
    """
    default = open_embedder(settings, worker_socket(sockets))
    return Embedders(
        default,
        {
            name: open_embedder(each, worker_socket(sockets, name))
            for name, each in settings.others.items()
        },
    )


def open_embedder(settings: EmbeddingModelSettings, socket: Path) -> Embedder:
    """Return one model's embedder. `socket` is not used when the settings name a URL."""
    source: Source = ApiSource(settings) if settings.url else WorkerSource(settings, socket)
    return ModelEmbedder(settings, source)


class ModelEmbedder:
    """A source of vectors with its names, the language rule, and the vectors of recent texts."""

    def __init__(self, settings: EmbeddingModelSettings, source: Source) -> None:
        self._settings = settings
        self._source = source
        self._questions: OrderedDict[str, Vector] = OrderedDict()
        self._sentences: OrderedDict[str, Vector] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Vector]] = {}
        self.model = settings.name
        self.space = settings.space
        self.languages = settings.languages
        self.dimensions = 0

    @property
    def max_tokens(self) -> int | None:  # noqa: D102 - see Embedder, here and below
        return self._source.max_tokens

    def knows(self, text: str) -> bool:  # noqa: D102
        return reads(self._settings.languages, text)

    async def embed(self, texts: Sequence[str], kind: Use = "document") -> list[Vector]:  # noqa: D102
        texts = _encodable(texts)
        if kind == "query":
            return list(await asyncio.gather(*map(self._question, texts)))
        if kind == "sentence":
            return await self._remembered(texts)
        return await self._compute(texts, kind) if texts else []

    async def _question(self, text: str) -> Vector:
        if known := self._questions.get(text):
            self._questions.move_to_end(text)
            return known
        asking = self._asking.get(text)
        if asking is None:
            asking = self._asking[text] = asyncio.create_task(self._ask(text))
            asking.add_done_callback(functools.partial(self._asked, text))
        # Others may wait for the same answer: who leaves does not take it from them.
        return await asyncio.shield(asking)

    def _asked(self, text: str, task: "asyncio.Task[Vector]") -> None:
        del self._asking[text]
        if not task.cancelled():
            task.exception()  # so that it is not told as one that nobody has seen

    async def _ask(self, text: str) -> Vector:
        (vector,) = await self._compute([text], "query")
        self._questions[text] = vector
        if len(self._questions) > _REMEMBERED_QUESTIONS:
            self._questions.popitem(last=False)
        return vector

    async def _remembered(self, texts: Sequence[str]) -> list[Vector]:
        """Compute what is not remembered; nothing more than once."""
        memory = self._sentences
        known = {text: memory[text] for text in texts if text in memory}
        if missing := [text for text in dict.fromkeys(texts) if text not in known]:
            known |= zip(missing, await self._compute(missing, "document"), strict=True)
        for text, vector in known.items():
            memory[text] = vector
            memory.move_to_end(text)
        while len(memory) * self.dimensions > _REMEMBERED_SENTENCES:
            memory.popitem(last=False)
        return [known[text] for text in texts]

    async def _compute(self, texts: Sequence[str], kind: Kind) -> list[Vector]:
        vectors = await self._source.embed(texts, kind)
        self.dimensions = len(vectors[0])
        return vectors

    async def embed_whole(self, texts: Sequence[str]) -> Counted:  # noqa: D102
        return await self._source.embed_whole(_encodable(texts))

    async def tokenizer(self) -> TokenizerSource:  # noqa: D102
        return await self._source.tokenizer()

    async def check(self) -> None:  # noqa: D102
        await self._source.embed(["ready?"], "query")

    async def close(self) -> None:  # noqa: D102
        for task in list(self._asking.values()):
            await end_task(task)
        await self._source.close()


def _encodable(texts: Sequence[str]) -> list[str]:
    """Return the texts without lone surrogates, which have no UTF-8; no model has learned them."""
    return [text.encode("utf-8", "replace").decode() for text in texts]
