"""What reading documents costs beside embedding them: `make bench-ingest`.

Markdown of our own documentation, made different in every document, goes the whole way: uploaded,
parsed, cut, embedded by the packaged model, written, with its own PostgreSQL. Then the same texts
are embedded alone. Other work on the machine comes and goes: CPU time is steadier than time.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import psutil
import uvloop

import rag
from config import embedded
from config.postgres import migrate, open_pool
from config.scope import TenantScope
from config.settings import EmbeddingModelSettings, RetrievalSettings
from rag.embed import ModelEmbedder, Use
from rag.embedding_sources import WorkerSource
from rag.embedding_wire import Vector
from rag.worker import run_jobs

MODEL = "all-MiniLM-L6-v2"
ROOT = Path(__file__).parents[1]
SCOPE = TenantScope("bench", "bench", frozenset())
SECTIONS = 8


class Recorder(ModelEmbedder):
    """An embedder that remembers what it was asked for."""

    def __init__(self, socket: Path) -> None:
        settings = EmbeddingModelSettings(model=MODEL)
        super().__init__(settings, WorkerSource(settings, socket))
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str], kind: Use = "document") -> list[Vector]:
        """Return one vector per text."""
        self.texts += texts
        return await super().embed(texts, kind)


def documents(count: int, tag: str) -> list[str]:
    """Return documents of some pages, no two with a paragraph in common."""
    text = "\n\n".join(path.read_text() for path in sorted((ROOT / "docs").rglob("*.md")))
    words = text.split()
    size = 150 * SECTIONS
    found = []
    for number in range(count):
        start = number * 97 % max(1, len(words) - size)
        body = words[start : start + size]
        parts = [
            f"## {tag} {number}.{part}\n\n{tag}{number} "
            + " ".join(body[part * 150 : (part + 1) * 150])
            for part in range(SECTIONS)
        ]
        found.append("\n\n".join(parts))
    return found


def cpu_s(root: psutil.Process) -> float:
    """Return the CPU time of a process and of all it started, those that have ended included."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def postgres(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run a PostgreSQL of our own."""
    runtime = embedded.runtime_dir(folder)
    child = embedded.spawn(embedded.postgres_command(folder, runtime))
    status = folder / "postgres" / "postmaster.pid"
    while not (status.exists() and status.read_text().rstrip().endswith("ready")):
        time.sleep(0.05)
    try:
        yield embedded.postgres_url(runtime), psutil.Process(child.pid)
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(30)
        shutil.rmtree(runtime, ignore_errors=True)


@contextmanager
def model(folder: Path) -> Iterator[tuple[Path, psutil.Process]]:
    """Run the embedding worker."""
    socket = folder / "embed.sock"
    argv = [sys.executable, "-m", "rag.embedding_worker", f"--socket={socket}", f"--model={MODEL}"]
    child = subprocess.Popen([*argv, f"--cache={folder}"])
    while not socket.exists():
        assert child.poll() is None, "the embedding worker did not start"
        time.sleep(0.05)
    try:
        yield socket, psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(30)


@asynccontextmanager
async def reading(url: str, embedder: Recorder) -> AsyncIterator[None]:
    """Run the job worker, in this process."""
    stop = asyncio.Event()
    async with await open_pool(url, size=10, role="naru_jobs") as pool:
        jobs = run_jobs(pool, rag.Embedders(embedder), RetrievalSettings(), stop)
        task = asyncio.create_task(jobs)
        yield
        stop.set()
        await task


async def upload(pool: asyncpg.Pool, texts: Sequence[str]) -> list[rag.StoredFile]:
    """Upload documents."""

    async def parts(text: str) -> AsyncIterator[bytes]:
        yield text.encode()

    return [
        await rag.create_file(
            pool, SCOPE, filename=f"{n}.md", purpose="assistants", parts=parts(text)
        )
        for n, text in enumerate(texts)
    ]


async def ingest(pool: asyncpg.Pool, files: Sequence[rag.StoredFile]) -> float:
    """Have files read into a new store; return how long that took."""
    store = (await rag.create_store(pool, SCOPE)).id
    started = time.perf_counter()
    for file in files:
        await rag.add_file(pool, SCOPE, store, file.id)
    while (await rag.get_store(pool, SCOPE, store)).counts.in_progress:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    counts = (await rag.get_store(pool, SCOPE, store)).counts
    assert counts.completed == len(files), counts
    return time.perf_counter() - started


async def alone(embedder: Recorder, texts: Sequence[str]) -> float:
    """Embed texts in batches, two of them asked for at a time; return how long that took."""
    started = time.perf_counter()
    waiting = asyncio.Semaphore(2)

    async def batch(start: int) -> None:
        async with waiting:
            await embedder.embed(texts[start : start + 64])

    await asyncio.gather(*(batch(start) for start in range(0, len(texts), 64)))
    return time.perf_counter() - started


async def measure(url: str, socket: Path, processes: dict[str, psutil.Process], options) -> None:  # noqa: ANN001
    """Print the table."""
    embedder = Recorder(socket)
    rounds: list[dict[str, float]] = []
    async with await open_pool(url, size=4) as pool, reading(url, embedder):
        await ingest(pool, await upload(pool, documents(2, "warm")))
        for number in range(options.rounds):
            embedder.texts.clear()
            files = await upload(pool, documents(options.documents, f"round{number}"))
            before = {name: cpu_s(process) for name, process in processes.items()}
            took = await ingest(pool, files)
            after = {name: cpu_s(process) for name, process in processes.items()}
            texts = list(embedder.texts)
            figures = {f"{name}, CPU ms": after[name] - before[name] for name in processes}
            # This process has the others beneath it.
            figures["reading, CPU ms"] -= figures["model, CPU ms"] + figures["postgres, CPU ms"]
            spent = cpu_s(processes["model"])
            figures |= {"whole, ms": took, "model alone, ms": await alone(embedder, texts)}
            figures["model alone, CPU ms"] = cpu_s(processes["model"]) - spent
            figures = {name: 1000 * value / len(texts) for name, value in figures.items()}
            rounds.append(figures | {"chunks": float(len(texts))})
    await embedder.close()
    found = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    print(f"{options.documents} documents, {found.pop('chunks'):.0f} chunks; per chunk:")
    for name, value in found.items():
        print(f"  {name:24}{value:8.2f}")
    beside = found["reading, CPU ms"] + found["postgres, CPU ms"]
    own = found["model alone, CPU ms"]
    print(f"of the model's own speed, by time: {found['model alone, ms'] / found['whole, ms']:.0%}")
    print(f"of the model's own speed, by CPU: {own / (own + beside):.0%}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with postgres(folder) as (url, database), model(folder) as (socket, worker):
            asyncio.run(migrate(url, ["rag"]))
            processes = {
                "reading": psutil.Process(os.getpid()),
                "model": worker,
                "postgres": database,
            }
            uvloop.run(measure(url, socket, processes, options))


if __name__ == "__main__":
    main()
