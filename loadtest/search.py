"""What a search in a large store takes, the question's embedding included: `make bench-search`.

100,000 chunks in the embedded PostgreSQL, questions from one process to the real embedding worker
and the database: no HTTP. Searches start when they are due, whether or not the last ones are back,
and are timed from then on (open loop). Recall is against a scan of every row.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
from corpus import ACME, build, read_passages

import rag
from config import embedded, postgres
from config.settings import EmbeddingSettings, RerankerSettings
from gateway.model_workers import model_workers

K = 10
LEGS = {"words": 0.0, "meaning": 1.0, "both": None}
# So that it reads both languages of the passages: what is measured is time, not sense.
LANGUAGES = ("en", "ko")


@contextmanager
def running(command: embedded.Command, ready: Path) -> Iterator[None]:
    """Run a child while inside, once the file `ready` says so."""
    child: subprocess.Popen[bytes] = embedded.spawn(command)
    try:
        while not (ready.exists() and (ready.is_socket() or b"ready" in ready.read_bytes())):
            if child.poll() is not None:
                raise SystemExit(f"{command.name} did not start")
            time.sleep(0.05)
        yield
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(60)


async def ask(  # noqa: D103
    pool: asyncpg.Pool, embedder: rag.Embedder, question: str, **options: object
) -> rag.Retrieval:
    chosen = rag.SearchOptions(**options)  # type: ignore[arg-type]
    return await rag.search(pool, embedder, ACME, ["bench"], question, k=K, options=chosen)


async def recall(
    pool: asyncpg.Pool, embedder: rag.Embedder, questions: Sequence[str]
) -> dict[str, float]:
    """Return of each leg, and of both, the share of the best ten that is found."""
    figures = {}
    for leg, weight in LEGS.items():
        kept = []
        for question in questions:
            found = await ask(pool, embedder, question, dense_weight=weight)
            best = await ask(pool, embedder, question, dense_weight=weight, exact=True)
            ids = {passage.chunk_id for passage in best.passages}
            kept.append(len(ids & {p.chunk_id for p in found.passages}) / max(len(ids), 1))
        figures[f"recall@{K} {leg}"] = statistics.mean(kept)
    return figures


async def open_loop(
    pool: asyncpg.Pool, embedder: rag.Embedder, questions: Sequence[str], rate: float
) -> dict[str, float]:
    """Return the latencies of questions that come evenly, `rate` a second."""
    loop = asyncio.get_running_loop()
    started = loop.time() + 0.1
    took: list[float] = []
    phases: dict[str, list[float]] = {}

    async def one(due: float, question: str) -> None:
        await asyncio.sleep(due - loop.time())
        found = await ask(pool, embedder, question)
        took.append(1000 * (loop.time() - due))
        for phase, seconds in found.timings.items():
            phases.setdefault(phase, []).append(1000 * seconds)

    await asyncio.gather(*(one(started + n / rate, q) for n, q in enumerate(questions)))
    label = f"{rate:g}/s"
    quantiles = statistics.quantiles(took, n=1000)
    figures = {
        f"{label} ms {name}": quantiles[at]
        for name, at in (("p50", 499), ("p95", 949), ("p99", 989))
    }
    figures |= {f"{label} ms p50 of {name}": statistics.median(ms) for name, ms in phases.items()}
    return figures


async def measure(url: str, socket: Path, args: argparse.Namespace) -> dict[str, float]:
    """Build the store where it is missing, and return all figures."""
    passages = read_passages(args.passages)
    embedder = rag.open_embedder(EmbeddingSettings(languages=LANGUAGES), socket)
    figures = {} if await is_built(url) else await build(url, passages, embedder, args.chunks)
    questions = iter([f"{text} {n}" for n in range(50) for text in passages.questions])
    async with await postgres.open_pool(url, size=8) as pool:
        for _ in range(200):  # caches fill
            await ask(pool, embedder, next(questions))
        for rate in args.rates:
            before = cpu_seconds()
            asked = [next(questions) for _ in range(int(rate * args.seconds))]
            figures |= await open_loop(pool, embedder, asked, rate)
            for who, seconds in cpu_seconds().items():
                cpu = 1000 * (seconds - before.get(who, 0.0)) / len(asked)
                figures[f"{rate:g}/s CPU ms each of {who}"] = cpu
        figures |= await recall(pool, embedder, [next(questions) for _ in range(args.recall)])
    await embedder.close()
    return figures


async def is_built(url: str) -> bool:
    """Tell whether an earlier run has left its store."""
    con = await asyncpg.connect(url)
    found: bool = await con.fetchval("SELECT EXISTS (SELECT FROM indexes WHERE shard > 0)")
    await con.close()
    return found


def cpu_seconds() -> dict[str, float]:
    """Return what this process, the database's connections and the model have computed."""
    used = dict.fromkeys(("this process", "the database", "the model"), 0.0)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (folder / "cmdline").read_bytes()
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            if int(folder.name) == os.getpid():
                used["this process"] += seconds
            elif line.startswith(b"postgres: naru naru [local]"):
                used["the database"] += seconds
            elif b"rag.embedding_worker" in line:
                used["the model"] += seconds
    return used


def show(figures: dict[str, float]) -> None:
    """Print a line for each figure."""
    for name, value in figures.items():
        print(f"{name:<36} {value:>10,.3f}" if value < 10 else f"{name:<36} {value:>10,.1f}")


def main() -> None:
    """Start the database and the model, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=Path, help="a file in SQuAD's format, KorQuAD's for one")
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--rates", type=float, nargs="+", default=[20.0, 50.0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--recall", type=int, default=50, help="how many questions measure it")
    parser.add_argument("--json", type=Path, help="where to write the figures too")
    parser.add_argument("--data", type=Path, help="a folder that keeps the store for the next run")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data: Path = args.data or Path(folder)
        data.mkdir(exist_ok=True)
        data.chmod(0o755)  # root's PostgreSQL runs as nobody
        runtime = embedded.runtime_dir(data)
        settings = EmbeddingSettings()
        server = embedded.postgres_command(data, runtime)
        (worker,) = model_workers(settings, RerankerSettings(), runtime, data / "models")
        with (
            running(server, data / "postgres" / "postmaster.pid"),
            running(worker.command, worker.socket),
        ):
            url = embedded.postgres_url(runtime)
            asyncio.run(postgres.migrate(url, ["rag"]))
            figures = asyncio.run(measure(url, worker.socket, args))
    show(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
