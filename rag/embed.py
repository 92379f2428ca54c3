"""Embeddings: from the worker process over a Unix socket, or from an OpenAI-compatible URL."""

import asyncio
import contextlib
import math
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import aiohttp
import msgspec

from config.settings import EmbeddingSettings
from config.tasks import end_task
from rag.embedding_wire import Request, Response, Vector, frame, read_frame, split_vectors
from rag.errors import EmbedderUnavailable, TextRefused
from rag.scripts import reads

_CACHED_QUERIES = 1024
_REMOTE_BATCH = 64
_REFUSALS = {400, 413, 422}
_CONNECT_TIMEOUT_S = 5.0


class Counted(NamedTuple):
    """Vectors, and how many tokens their texts are together."""

    vectors: list[Vector]
    tokens: int


class Embedder(Protocol):
    """Turns texts into vectors of one space."""

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def space(self) -> str:
        """What must be equal for two vectors to be comparable: the model and its languages."""

    @property
    def dimensions(self) -> int:
        """Numbers per vector; 0 until the model has answered for the first time."""

    def knows(self, text: str) -> bool:
        """Tell whether the model can read this text's script, as far as its languages say."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return one vector per text.

        Raises:
            EmbedderUnavailable: The model can't be reached, or gave no answer in time.
        """

    async def embed_whole(self, texts: Sequence[str]) -> Counted:
        """Return one vector per text, and how many tokens the texts are.

        Raises:
            TextRefused: A text is longer than the model reads, or the model takes none like it.
            EmbedderUnavailable: The model can't be reached, or gave no answer in time.
        """

    async def check(self) -> None:
        """Ask the model itself, past every memory.

        Raises:
            EmbedderUnavailable: It can't be reached, or gave no answer in time.
        """

    async def close(self) -> None:
        """Close the connection to the model."""


def open_embedder(settings: EmbeddingSettings, socket: Path) -> Embedder:
    """Return the embedder the settings name; it connects at first use, and again when it must.

    `socket` is where the embedding worker listens; not used when the settings name a URL.
    """
    return RemoteEmbedder(settings) if settings.url else WorkerEmbedder(settings, socket)


class _CachingEmbedder:
    """What both embedders share: names, the language rule, recent questions' vectors."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings
        self._dimensions = 0
        self._recent: OrderedDict[str, Vector] = OrderedDict()

    @property
    def model(self) -> str:
        return self._settings.model

    @property
    def space(self) -> str:
        return f"{self.model} {','.join(sorted(self._settings.languages))}"

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def knows(self, text: str) -> bool:
        return reads(self._settings.languages, text)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        if not texts:
            return []
        texts = _encodable(texts)
        if len(texts) == 1 and (known := self._recent.get(texts[0])):
            self._recent.move_to_end(texts[0])
            return [known]
        vectors = await self._compute(texts)
        self._dimensions = len(vectors[0])
        if len(texts) == 1:
            self._recent[texts[0]] = vectors[0]
            if len(self._recent) > _CACHED_QUERIES:
                self._recent.popitem(last=False)
        return vectors

    async def check(self) -> None:
        await self._compute(["ready?"])

    async def _compute(self, texts: Sequence[str]) -> list[Vector]:
        raise NotImplementedError


class WorkerEmbedder(_CachingEmbedder):
    """The client of `rag.embedding_worker`; concurrent calls share one connection."""

    def __init__(self, settings: EmbeddingSettings, socket: Path) -> None:
        super().__init__(settings)
        self._socket = socket
        self._writer: asyncio.StreamWriter | None = None
        self._reader_task: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._last_id = 0

    async def _compute(self, texts: Sequence[str]) -> list[Vector]:
        return split_vectors(await self._ask(texts, whole=False))

    async def embed_whole(self, texts: Sequence[str]) -> Counted:  # noqa: D102 - see Embedder
        response = await self._ask(_encodable(texts), whole=True)
        if response.too_long:
            longest = max(response.tokens)
            raise TextRefused(
                f"{longest:,} tokens are more than the {response.limit:,} that the model reads: "
                "cut the text into shorter ones",
                index=response.tokens.index(longest),
                code="context_length_exceeded",
            )
        return Counted(split_vectors(response), sum(response.tokens))

    async def _ask(self, texts: Sequence[str], *, whole: bool) -> Response:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                response = await self._send(Request(self._next_id(), list(texts), whole))
        except (OSError, TimeoutError) as error:
            raise EmbedderUnavailable(f"the embedding worker gave no answer: {error!r}") from error
        if response.error:
            raise EmbedderUnavailable(f"the embedding model failed: {response.error}")
        return response

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def _send(self, request: Request) -> Response:
        writer = await self._connected()
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = answer
        try:
            writer.write(frame(msgspec.msgpack.encode(request)))
            await writer.drain()
            return await answer
        finally:
            del self._waiting[request.id]

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    reader, self._writer = await asyncio.open_unix_connection(self._socket)
                self._reader_task = asyncio.create_task(self._receive(reader, self._writer))
            return self._writer

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = msgspec.msgpack.Decoder(Response)
        try:
            while True:
                response = decoder.decode(await read_frame(reader))
                answer = self._waiting.get(response.id)
                if answer and not answer.done():
                    answer.set_result(response)
        except (OSError, EOFError, msgspec.DecodeError) as error:
            writer.close()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionError(f"the worker hung up: {error!r}"))

    async def close(self) -> None:
        """Close the connection; requests under way fail."""
        if self._reader_task:
            await end_task(self._reader_task)
        if self._writer:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()


class _Embedding(msgspec.Struct):
    index: int
    embedding: list[float]


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]
    usage: _Usage = msgspec.field(default_factory=_Usage)


class RemoteEmbedder(_CachingEmbedder):
    """An OpenAI-compatible embeddings API."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        super().__init__(settings)
        self._session: aiohttp.ClientSession | None = None

    async def _compute(self, texts: Sequence[str]) -> list[Vector]:
        try:
            return (await self._post_all(texts)).vectors
        except TextRefused as error:
            raise EmbedderUnavailable(str(error)) from error

    async def embed_whole(self, texts: Sequence[str]) -> Counted:  # noqa: D102
        return await self._post_all(_encodable(texts))

    async def _post_all(self, texts: Sequence[str]) -> Counted:
        vectors: list[Vector] = []
        tokens = 0
        try:
            for start in range(0, len(texts), _REMOTE_BATCH):
                batch = await self._post(texts[start : start + _REMOTE_BATCH])
                vectors += batch.vectors
                tokens += batch.tokens
        except aiohttp.ClientResponseError as error:
            if error.status in _REFUSALS:
                raise TextRefused(f"the embeddings API refused: {error.message}") from error
            reason = f"the embeddings API answered status {error.status}"
            raise EmbedderUnavailable(reason) from error
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            reason = f"the embeddings API gave no answer: {type(error).__name__}"
            raise EmbedderUnavailable(reason) from error
        return Counted(vectors, tokens)

    async def _post(self, texts: Sequence[str]) -> Counted:
        url = f"{str(self._settings.url).rstrip('/')}/embeddings"
        # An empty text is refused by OpenAI.
        body = {"model": self.model, "input": [text or " " for text in texts]}
        async with self._open_session().post(url, json=body) as response:
            response.raise_for_status()
            answer = msgspec.json.decode(await response.read(), type=_Embeddings)
        if len(answer.data) != len(texts):
            raise EmbedderUnavailable("the embeddings API answered for other texts than asked")
        ordered = sorted(answer.data, key=lambda item: item.index)
        vectors = [_normalised(item.embedding) for item in ordered]
        return Counted(vectors, answer.usage.prompt_tokens)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            key = self._settings.api_key
            headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
            timeout = aiohttp.ClientTimeout(
                total=self._settings.timeout_s, sock_connect=_CONNECT_TIMEOUT_S
            )
            self._session = aiohttp.ClientSession(headers=headers, timeout=timeout)
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()


def _encodable(texts: Sequence[str]) -> list[str]:
    """Return the texts without lone surrogates, which have no UTF-8; no model has learned them."""
    return [text.encode("utf-8", "replace").decode() for text in texts]


def _normalised(values: Sequence[float]) -> Vector:
    length = math.hypot(*values) or 1.0
    return array("f", [value / length for value in values])
