"""How requests become batches, and what happens without a model."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

from rag.embedding_worker import Batcher, Model, Tokens


async def test_a_question_goes_before_waiting_documents() -> None:
    order: list[str] = []
    running, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def encode(texts: list[str]) -> bytes:
        loop.call_soon_threadsafe(running.set)
        go_on.wait(10)
        order.append(texts[0])
        return bytes(4 * len(texts))

    batcher = Batcher(Model(encode, 1, Tokens(lambda texts: [], 0)))
    work = asyncio.create_task(batcher.run())
    documents = asyncio.create_task(batcher.embed([f"document {n}" for n in range(48)]))
    await running.wait()
    question = asyncio.create_task(batcher.embed(["question"], "query"))
    await asyncio.sleep(0)
    go_on.set()
    assert len(await documents) == 4 * 48
    assert await question == bytes(4)
    assert order == ["document 0", "question", "document 16", "document 32"]
    work.cancel()


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "rag.embedding_worker"]
    argv += ["--socket", str(tmp_path / "s"), "--model", str(tmp_path / "no model")]
    result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "can't load the embedding model" in line
    assert "no model" in line
