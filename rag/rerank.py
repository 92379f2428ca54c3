"""Reranking: a cross-encoder reads question and document together, and gives one score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import aiohttp
import msgspec

from config.settings import RerankerSettings
from rag.embedding_wire import RerankRequest, reranker_socket, split_vectors
from rag.errors import RerankerUnavailable
from rag.worker_client import WorkerClient, WorkerFailed

_CONNECT_TIMEOUT_S = 5.0


class Reranker(Protocol):
    """Scores texts for a question."""

    @property
    def model(self) -> str:
        """The model's name."""

    async def rerank(
        self, query: str, texts: Sequence[str], *, max_tokens: int | None = None
    ) -> list[float]:
        """Return a score from 0 to 1 for each text, in their order; `max_tokens` cuts each.

        Raises:
            RerankerUnavailable: The model can't be reached, failed, or gave no answer in time.
        """

    async def check(self) -> None:
        """Ask the model itself.

        Raises:
            RerankerUnavailable: It can't be reached, or gave no answer in time.
        """

    async def close(self) -> None:
        """Close the connection to the model."""


def open_reranker(settings: RerankerSettings, sockets: Path) -> Reranker | None:
    """Return the reranker the settings name, if any; it connects at first use.

    `sockets` is the folder where the workers listen.
    """
    if settings.model is None:
        return None
    return ApiReranker(settings) if settings.url else WorkerReranker(settings, sockets)


class WorkerReranker:
    """`rag.embedding_worker` with a cross-encoder."""

    def __init__(self, settings: RerankerSettings, sockets: Path) -> None:
        self.model = settings.name
        self._client = WorkerClient(reranker_socket(sockets), settings.timeout_s)

    async def rerank(  # noqa: D102 - see Reranker, here and below
        self, query: str, texts: Sequence[str], *, max_tokens: int | None = None
    ) -> list[float]:
        if not texts:
            return []
        question, *documents = (_encodable(text) for text in (query, *texts))
        try:
            answer = await self._client.ask(RerankRequest(question, documents, max_tokens or 0))
        except WorkerFailed as error:
            raise RerankerUnavailable(f"the reranker failed: {error}") from error
        return [score for (score,) in split_vectors(answer)]

    async def check(self) -> None:  # noqa: D102
        await self.rerank("ready?", ["ready"])

    async def close(self) -> None:  # noqa: D102
        await self._client.close()


class _Result(msgspec.Struct):
    """One text's score: Cohere, Jina and vLLM name it in the first way, TEI in the second."""

    index: int
    relevance_score: float | None = None
    score: float = 0.0


class _Results(msgspec.Struct):
    results: list[_Result]


_Answer = _Results | list[_Result]


class ApiReranker:
    """A server of Cohere's `/rerank`, or of that of Text Embeddings Inference (TEI)."""

    def __init__(self, settings: RerankerSettings) -> None:
        self.model = settings.name
        self._settings = settings
        self._field = "documents"
        self._session: aiohttp.ClientSession | None = None

    async def rerank(  # noqa: D102
        self, query: str, texts: Sequence[str], *, max_tokens: int | None = None
    ) -> list[float]:
        if not texts:
            return []
        body: dict[str, object] = {"model": self._settings.model, "query": query}
        if max_tokens:
            body["max_tokens_per_doc"] = max_tokens
        try:
            results = await self._post(body, texts)
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            reason = getattr(error, "status", type(error).__name__)
            raise RerankerUnavailable(f"the reranking API gave no answer: {reason}") from error
        scores = {result.index: result.relevance_score or result.score for result in results}
        if set(scores) != set(range(len(texts))):
            raise RerankerUnavailable("the reranking API answered for other texts than asked")
        return [min(1.0, max(0.0, scores[index])) for index in range(len(texts))]

    async def _post(self, body: dict[str, object], texts: Sequence[str]) -> list[_Result]:
        url = f"{str(self._settings.url).rstrip('/')}/rerank"
        session = self._open_session()
        async with session.post(url, json={**body, self._field: list(texts)}) as response:
            if response.status != 422 or self._field == "texts":
                response.raise_for_status()
                answer: _Answer = msgspec.json.decode(await response.read(), type=_Answer)
                return answer.results if isinstance(answer, _Results) else answer
        self._field = "texts"  # TEI's name; it says that it misses it
        return await self._post(body, texts)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            key = self._settings.api_key
            headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
            timeout = aiohttp.ClientTimeout(
                total=self._settings.timeout_s, sock_connect=_CONNECT_TIMEOUT_S
            )
            self._session = aiohttp.ClientSession(headers=headers, timeout=timeout)
        return self._session

    async def check(self) -> None:  # noqa: D102
        await self.rerank("ready?", ["ready"])

    async def close(self) -> None:  # noqa: D102
        if self._session:
            await self._session.close()


def _encodable(text: str) -> str:
    """Return the text without lone surrogates, which have no UTF-8."""
    return text.encode("utf-8", "replace").decode()
