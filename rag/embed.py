"""Embeddings: from the worker process over a Unix socket, or from an OpenAI-compatible URL."""

import asyncio
import contextlib
import math
import re
import struct
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import aiohttp
import msgspec

from config.settings import EmbeddingSettings
from rag.errors import EmbedderUnavailable

Vector = Sequence[float]
"""An `array` of type code `f` and of length 1 (L2), so that an inner product is the cosine."""

_CACHED_QUERIES = 1024
_REMOTE_BATCH = 64
_CONNECT_TIMEOUT_S = 5.0
# Above this share of letters it can't read a model's vote is noise: `Docker 설정은 어떻게 하나요`.
_FOREIGN_SHARE = 0.2

_SCRIPTS = {
    "ko": re.compile(r"[가-힣ㄱ-ㆎ]"),
    "ja": re.compile(r"[぀-ヿ一-鿿]"),
    "zh": re.compile(r"[㐀-鿿]"),
    "ru": re.compile(r"[Ѐ-ӿ]"),
    "uk": re.compile(r"[Ѐ-ӿ]"),
    "ar": re.compile(r"[؀-ۿ]"),
    "el": re.compile(r"[Ͱ-Ͽ]"),
    "he": re.compile(r"[֐-׿]"),
    "hi": re.compile(r"[ऀ-ॿ]"),
    "th": re.compile(r"[฀-๿]"),
}
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")


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


def reads(languages: Iterable[str], text: str) -> bool:
    """Tell whether at most a fifth of the text's letters are foreign to all of the languages."""
    letters = sum(c.isalpha() for c in text)
    scripts = {_SCRIPTS.get(language.lower()[:2], _LATIN) for language in languages}
    known = sum(len(pattern.findall(text)) for pattern in scripts | {_LATIN})
    return letters - known <= _FOREIGN_SHARE * letters


class Request(msgspec.Struct):
    """What the worker is asked, msgpack behind a 4-byte big-endian length."""

    id: int
    texts: list[str]


class Response(msgspec.Struct):
    """The worker's answer: float32 vectors one behind the other, or why there are none."""

    id: int
    dimensions: int = 0
    vectors: bytes = b""
    error: str = ""


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
        # Lone surrogates have no UTF-8; no model has learned them.
        texts = [text.encode("utf-8", "replace").decode() for text in texts]
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
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                response = await self._ask(list(texts))
        except (OSError, TimeoutError) as error:
            raise EmbedderUnavailable(f"the embedding worker gave no answer: {error!r}") from error
        if response.error:
            raise EmbedderUnavailable(f"the embedding model failed: {response.error}")
        return split_vectors(response)

    async def _ask(self, texts: list[str]) -> Response:
        writer = await self._connected()
        self._last_id += 1
        request = Request(self._last_id, texts)
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
            self._reader_task.cancel()
            await asyncio.wait([self._reader_task])
        if self._writer:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()


class _Embedding(msgspec.Struct):
    index: int
    embedding: list[float]


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]


class RemoteEmbedder(_CachingEmbedder):
    """An OpenAI-compatible embeddings API."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        super().__init__(settings)
        self._session: aiohttp.ClientSession | None = None

    async def _compute(self, texts: Sequence[str]) -> list[Vector]:
        vectors: list[Vector] = []
        try:
            for start in range(0, len(texts), _REMOTE_BATCH):
                vectors += await self._post(texts[start : start + _REMOTE_BATCH])
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            reason = f"the embeddings API gave no answer: {type(error).__name__}"
            raise EmbedderUnavailable(reason) from error
        return vectors

    async def _post(self, texts: Sequence[str]) -> list[Vector]:
        url = f"{str(self._settings.url).rstrip('/')}/embeddings"
        # An empty text is refused by OpenAI.
        body = {"model": self.model, "input": [text or " " for text in texts]}
        async with self._open_session().post(url, json=body) as response:
            response.raise_for_status()
            answer = msgspec.json.decode(await response.read(), type=_Embeddings)
        if len(answer.data) != len(texts):
            raise EmbedderUnavailable("the embeddings API answered for other texts than asked")
        ordered = sorted(answer.data, key=lambda item: item.index)
        return [_normalised(item.embedding) for item in ordered]

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


def frame(message: bytes) -> bytes:
    """Return a message behind its length, as client and worker send it."""
    return struct.pack(">I", len(message)) + message


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Return the next message.

    Raises:
        EOFError: The other side has hung up.
    """
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return await reader.readexactly(length)


def split_vectors(response: Response) -> list[Vector]:
    """Return the vectors of the worker's answer."""
    flat = array("f", response.vectors)
    size = response.dimensions
    return [flat[start : start + size] for start in range(0, len(flat), size)]


def _normalised(values: Sequence[float]) -> Vector:
    length = math.hypot(*values) or 1.0
    return array("f", [value / length for value in values])
