"""Where vectors come from: a worker process, or an OpenAI-compatible API."""

import math
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import aiohttp
import msgspec

from config.settings import EmbeddingModelSettings
from rag.embedding_wire import (
    Counted,
    EmbedRequest,
    Kind,
    Response,
    Vector,
    split_vectors,
    tokenizer_file,
)
from rag.errors import EmbedderUnavailable, TextRefused
from rag.tokenizer import ASSUMED_LIMIT, TokenizerSource
from rag.worker_client import WorkerClient, WorkerFailed

_API_BATCH = 64
_REFUSALS = {400, 413, 422}
_CONNECT_TIMEOUT_S = 5.0


class Source(Protocol):
    """Computes vectors, without a memory. Errors are those of `rag.embed.Embedder`."""

    @property
    def max_tokens(self) -> int | None:
        """Tokens the model reads of one text, as far as that is known by now."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> list[Vector]:
        """Return one vector per text."""

    async def embed_whole(self, texts: Sequence[str]) -> Counted:
        """Return vectors and tokens; refuse a text that the model would cut."""

    async def tokenizer(self) -> TokenizerSource:
        """Return how the model counts documents."""

    async def close(self) -> None:
        """Close the connection."""


class WorkerSource:
    """`rag.embedding_worker`, over its socket."""

    def __init__(self, settings: EmbeddingModelSettings, socket: Path) -> None:
        self._client = WorkerClient(socket, settings.timeout_s)
        self.max_tokens = settings.max_tokens

    async def embed(self, texts: Sequence[str], kind: Kind) -> list[Vector]:
        """Return one vector per text."""
        return split_vectors(await self._ask(EmbedRequest(list(texts), kind)))

    async def embed_whole(self, texts: Sequence[str]) -> Counted:
        """Return vectors and tokens."""
        response = await self._ask(EmbedRequest(list(texts), whole=True))
        if response.too_long:
            longest = max(response.tokens)
            raise TextRefused(
                f"{longest:,} tokens are more than the {response.limit:,} that the model reads: "
                "cut the text into shorter ones",
                index=response.tokens.index(longest),
                code="context_length_exceeded",
            )
        return Counted(split_vectors(response), sum(response.tokens))

    async def tokenizer(self) -> TokenizerSource:
        """Return where the worker left its tokenizer, if the model has a fast one."""
        # The worker leaves the file before it listens: asked first, it can't be missed.
        await self.embed(["ready?"], "query")
        file = tokenizer_file(self._client.socket)
        if file.exists():
            return TokenizerSource(str(file))
        return TokenizerSource(limit=self.max_tokens)

    async def _ask(self, request: EmbedRequest) -> Response:
        try:
            response = await self._client.ask(request)
        except WorkerFailed as error:
            raise EmbedderUnavailable(f"the embedding model failed: {error}") from error
        self.max_tokens = response.limit or None
        return response

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


class _Embedding(msgspec.Struct):
    index: int
    embedding: list[float]


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]
    usage: _Usage = msgspec.field(default_factory=_Usage)


class ApiSource:
    """An OpenAI-compatible embeddings API."""

    def __init__(self, settings: EmbeddingModelSettings) -> None:
        self._settings = settings
        self._prompts: dict[Kind, str] = {
            "query": settings.query_prompt or "",
            "document": settings.document_prompt or "",
        }
        self._session: aiohttp.ClientSession | None = None
        self.max_tokens = settings.max_tokens or ASSUMED_LIMIT

    async def embed(self, texts: Sequence[str], kind: Kind) -> list[Vector]:
        """Return one vector per text."""
        try:
            return (await self._post_all([self._prompts[kind] + text for text in texts])).vectors
        except TextRefused as error:
            raise EmbedderUnavailable(str(error)) from error

    async def embed_whole(self, texts: Sequence[str]) -> Counted:
        """Return vectors and tokens."""
        return await self._post_all(texts)

    async def tokenizer(self) -> TokenizerSource:
        """Return how the model counts documents."""
        file = self._settings.tokenizer
        return TokenizerSource(
            str(file) if file else None, self._settings.max_tokens, self._prompts["document"]
        )

    async def _post_all(self, texts: Sequence[str]) -> Counted:
        vectors: list[Vector] = []
        tokens = 0
        try:
            for start in range(0, len(texts), _API_BATCH):
                batch = await self._post(texts[start : start + _API_BATCH])
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
        body = {"model": self._settings.model, "input": [text or " " for text in texts]}
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
        """Close the connection."""
        if self._session:
            await self._session.close()


def _normalised(values: Sequence[float]) -> Vector:
    length = math.hypot(*values) or 1.0
    return array("f", [value / length for value in values])
