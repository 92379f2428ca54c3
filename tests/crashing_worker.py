"""A job worker in a process of its own that stops at a stage, to be killed there.

`python crashing_worker.py DATABASE_URL STAGE`; without a stage it works on. It says `reached`.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from config.postgres import open_pool
from config.settings import RetrievalSettings
from rag import documents, job_queue, prepare, watch
from rag.embed import Embedders
from rag.embedding_wire import Kind, Vector
from rag.ingest import Reader
from rag.parse.apart import Parser
from rag.prepare import Preparer
from rag.testing import InMemoryEmbedder
from rag.worker import run_jobs


async def _stay() -> None:
    sys.stdout.write("reached\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def _before(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def wrapper(*_: Any, **__: Any) -> None:
        await _stay()

    del call
    return wrapper


def _behind(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def wrapper(*arguments: Any, **named: Any) -> None:
        await call(*arguments, **named)
        await _stay()

    return wrapper


class _Embedder(InMemoryEmbedder):
    """Answers twice where that is the stage to stop at."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.left = 2 if stage == "embedding" else sys.maxsize

    async def embed(self, texts: Sequence[str], kind: Kind = "document") -> list[Vector]:
        if self.left == 0:
            await _stay()
        self.left -= 1
        return await super().embed(texts, kind)


STAGES: dict[str, tuple[object, str, Callable[..., Any]]] = {
    "claimed": (Preparer, "prepare", _before),
    "parsing": (Parser, "_ask", _behind),
    "writing": (documents, "count_document", _behind),
    "written": (Reader, "_read_claimed", _behind),
}


async def main(url: str, stage: str = "") -> None:
    """Work until killed."""
    job_queue._HEARTBEAT_S, job_queue._POLL_S, watch._LOOK_S = 1.0, 0.1, 0.1
    prepare._EMBED_BATCH = 2
    if stage in STAGES:
        owner, name, stop = STAGES[stage]
        setattr(owner, name, stop(getattr(owner, name)))
    async with await open_pool(url, size=6, role="naru_jobs") as pool:
        embedders = Embedders(_Embedder(stage))
        await run_jobs(pool, embedders, RetrievalSettings(chunk_tokens=30), asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
