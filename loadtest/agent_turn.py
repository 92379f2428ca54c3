"""What an agent's turn takes beside its model: `make bench-agent`.

A store of 100,000 chunks, an agent that answers from it with the mock as its model, two hundred
sessions, 20 turns a second over HTTP. The store is kept in `.naru/bench-agent` for the next run.
"""

import argparse
import asyncio
import json
import random
import sys
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench import AGENT_JSON, ROOT
from corpus import build, read_passages
from load import Target, percentile
from measures import at_rate, target
from naru_process import NaruProcess
from report import save
from rig import (
    ALL_CORES,
    MODEL,
    Gateway,
    Naru,
    ensure,
    log_in,
    pin,
    prepare,
    run_mock,
    run_naru,
    set_budget,
)
from search import LANGUAGES, is_built

import rag
from config import embedded
from config.settings import EmbeddingSettings
from rag.embedding_wire import worker_socket

_FOLDER = ROOT / ".naru" / "bench-agent"
_TENANT = "acme"
_SESSIONS = 200
_PARTS = {
    "the web worker": "gateway.web_worker",
    "the model": "rag.embedding_worker",
    "the database": "postgres",
}
_SCOPES = ("agents", "agents:write", "inference", "knowledge")


async def build_store(data_dir: Path, chunks: int) -> None:
    """Make the store `bench` where an earlier run has left none."""
    runtime = embedded.runtime_path(data_dir)
    url = embedded.postgres_url(runtime)
    if await is_built(url):
        return
    settings = EmbeddingSettings(languages=LANGUAGES)
    embedder = rag.open_embedder(settings, worker_socket(runtime))
    try:
        print("building the store, which takes minutes", file=sys.stderr)
        print(await build(url, read_passages(None), embedder, chunks))
    finally:
        await embedder.close()


def make_agent(process: NaruProcess) -> dict[str, str]:
    """Make the agent where there is none; return the header of a client that may ask it."""
    scopes = [word for scope in _SCOPES for word in ("--scope", scope)]
    caller = log_in(process, "--tenant", _TENANT, *scopes)
    agent = {
        "name": "bench",
        "instructions": "Answer from the documents.",
        "model": MODEL,
        "vector_stores": ["bench"],
    }
    ensure(f"{process.url}/v1/agents", agent, caller)
    return caller


def turns(url: str, caller: dict[str, str], questions: Sequence[str], count: int) -> Target:
    """Return turns of a few hundred sessions; other questions each time."""
    run = uuid.uuid4().hex[:8]
    chance = random.Random(run)
    bodies = [
        {"message": f"{chance.choice(questions)} {n}", "session_id": f"{run}-{n % _SESSIONS}"}
        for n in range(count)
    ]
    asked = [(json.dumps(body).encode(), caller) for body in bodies]
    return Target.posts(f"{url}/v1/agents/bench/chat", asked)


def parts(url: str, caller: dict[str, str], questions: Sequence[str]) -> dict[str, float]:
    """Return the median of each part that `Server-Timing` tells of, in milliseconds."""
    told: dict[str, list[float]] = {}
    for question in questions:
        body = json.dumps({"message": question}).encode()
        headers = {"content-type": "application/json", **caller}
        request = urllib.request.Request(f"{url}/v1/agents/bench/chat", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            for part in (answer.headers["server-timing"] or "").split(", "):
                name, _, value = part.partition(";dur=")
                if value:
                    told.setdefault(name, []).append(float(value))
    return {name: median(values) for name, values in told.items()}


def cpu_seconds(process: NaruProcess) -> dict[str, float]:
    """Return how long each part of the service has computed."""
    told = {}
    for who, word in _PARTS.items():
        (parent,) = process.children(word)
        times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
        told[who] = sum(each.user + each.system for each in times)
    return told


def measure(mock: Gateway, naru: Naru, rate: float, seconds: float) -> dict[str, float]:
    """Return what a turn takes, in milliseconds."""
    caller = make_agent(naru.process)
    set_budget(naru.process, _TENANT)
    questions = read_passages(None).questions
    url, count = naru.gateway.url, int(rate * seconds * 2)
    at_rate(naru.gateway, turns(url, caller, questions, count), rate, seconds / 2)  # it warms up
    asked = turns(url, caller, questions, count)
    before = cpu_seconds(naru.process)
    cost = at_rate(naru.gateway, asked, rate, seconds)
    assert not cost.result.failures, cost.result.failures
    computed = cpu_seconds(naru.process)
    direct = at_rate(mock, target(mock), rate, 5.0).result
    beside = percentile(direct.latencies, 0.5)
    took = {
        f"agent turn ms p{share}": 1000 * (percentile(cost.result.latencies, share / 100) - beside)
        for share in (50, 95, 99)
    }
    for who, spent in computed.items():
        each = 1000 * (spent - before[who]) / len(cost.result.latencies)
        took[f"agent turn CPU ms of {who}"] = each
    told = parts(url, caller, [f"{each}?" for each in questions[:50]])
    return took | {f"Server-Timing {name}": value for name, value in told.items()}


def main() -> None:
    """Build the store where it is missing, measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--data", type=Path, default=_FOLDER, help="where the store is kept")
    arguments = parser.parse_args()
    prepare()
    arguments.data.mkdir(parents=True, exist_ok=True)
    more = {
        "embedding": {"languages": list(LANGUAGES)},
        # Its job worker would move the store to partitions before it is whole.
        "retrieval": {"large_index_chunks": 1_000_000_000},
    }
    with run_mock() as mock, run_naru(arguments.data, mock.url, more) as naru:
        log_in(naru.process, "--tenant", _TENANT)
        # A turn is the work of several processes: none has a core to itself.
        pin(naru.process.family(), ALL_CORES)
        asyncio.run(build_store(arguments.data / "data", arguments.chunks))
        figures = measure(mock, naru, arguments.rate, arguments.seconds)
    for name, value in figures.items():
        print(f"{name:<40} {value:9.2f}")
    save(AGENT_JSON, {"figures": figures, "chunks": arguments.chunks, "rate": arguments.rate})


if __name__ == "__main__":
    main()
