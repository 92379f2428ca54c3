"""Embedding for whoever has much of it: texts of several documents in common requests."""

import asyncio
from collections import deque
from collections.abc import Sequence

from config.tasks import end_task
from rag.embed import Embedder
from rag.embedding_wire import Vector

_BATCH = 32
_AT_ONCE = 2
"""Requests under way: the model never waits, and no request waits long behind others."""


class BulkEmbedder:
    """Puts texts into requests as they come; `close` ends what is under way."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._waiting: deque[tuple[str, asyncio.Future[Vector]]] = deque()
        self._senders: set[asyncio.Task[None]] = set()

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return one vector per text.

        Raises:
            EmbedderUnavailable: The model can't be reached, or did not take what went with them.
        """
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[Vector]] = [loop.create_future() for _ in texts]
        self._waiting += zip(texts, answers, strict=True)
        if len(self._senders) < _AT_ONCE:
            sender = asyncio.create_task(self._send())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        return await asyncio.gather(*answers)

    async def close(self) -> None:
        """End the requests under way."""
        for sender in list(self._senders):
            await end_task(sender)

    async def _send(self) -> None:
        while self._waiting:
            texts: list[str] = []
            answers: list[asyncio.Future[Vector]] = []
            while self._waiting and len(texts) < _BATCH:
                text, answer = self._waiting.popleft()
                if not answer.done():  # nobody waits any more
                    texts.append(text)
                    answers.append(answer)
            if texts:
                await self._ask(texts, answers)

    async def _ask(self, texts: list[str], answers: "list[asyncio.Future[Vector]]") -> None:
        try:
            vectors = await self._embedder.embed(texts)
        except Exception as error:  # noqa: BLE001 - those who asked are told
            for answer in answers:
                if not answer.done():
                    answer.set_exception(error)
            return
        for answer, vector in zip(answers, vectors, strict=True):
            if not answer.done():
                answer.set_result(vector)
