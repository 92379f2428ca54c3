"""Mixed load with faults, and what is left of it: `make soak` (ARGS="--minutes 30").

Answers, streams, streams that are left, agents, embeddings, tokens, refused requests; meanwhile the
upstream hangs and dies, and so do Redis and PostgreSQL. Resident memory is looked at throughout;
whether it grows, the last three fifths of the time tell. Before and after, with nothing to do, each
process must hold as many descriptors, threads and asyncio tasks as before.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression, median

import psutil
import uvloop
from load import Load, Target
from measures import body
from rig import MODEL, Gateway, Naru, follow, log_in, prepare, run_mock, run_naru

from config.settings import EmbeddingSettings

_WARM_S = 60.0
_LOOK_S = 1.0
_CALM_S = 20.0
_FAULT_S = 20.0
_HANG_S = 2.0
_LEAVE_S = 0.5
_PARTS = 10
_WARMING_PARTS = 4
_MOST_MB_PER_HOUR = 1.0
# A shorter run can't tell a megabyte an hour from what comes and goes.
_JUDGED_MINUTES = 30.0
# Connections of pools, and threads, that come and go; what leaks is left hundreds of times.
_SLACK = 10
_TASKS = re.compile(r'^naru_event_loop_tasks\{process="([^"]+)"\} (\d+)', re.MULTILINE)
_WORKERS = ("gateway.web_worker", "gateway.job_worker", "rag.embedding_worker")


@dataclass(frozen=True, slots=True)
class Held:
    """What processes hold with nothing to do, by process: descriptors, threads; tasks by name."""

    descriptors: Mapping[str, int]
    threads: Mapping[str, int]
    tasks: Mapping[str, int]

    def more_than(self, before: "Held") -> list[str]:
        """Return what there is more of than before."""
        kinds = ("descriptors", "threads", "tasks")
        return [
            f"{name}: {count} {kind}, {getattr(before, kind).get(name, 0)} before"
            for kind in kinds
            for name, count in getattr(self, kind).items()
            if count > getattr(before, kind).get(name, 0) + _SLACK
        ]


@dataclass(slots=True)
class Memory:
    """A process's resident megabytes over time, in seconds."""

    at: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def add(self, at: float, megabytes: float) -> None:
        """Remember a look."""
        self.at.append(at)
        self.megabytes.append(megabytes)

    @property
    def parts(self) -> list[tuple[float, float]]:
        """Return the medians of ten parts of the time: seconds, megabytes."""
        size = max(1, len(self.at) // _PARTS)
        starts = range(0, len(self.at) - size + 1, size)
        return [
            (median(self.at[i : i + size]), median(self.megabytes[i : i + size])) for i in starts
        ]

    @property
    def slope(self) -> float:
        """Return how many megabytes it grows an hour, once it is warm: caches fill for a while."""
        at, megabytes = zip(*self.parts[_WARMING_PARTS:], strict=True)
        return 3600 * linear_regression(at, megabytes).slope


@dataclass(frozen=True, slots=True)
class Way:
    """What is asked, and how often a second."""

    name: str
    target: Target
    rate: float


def ways(naru: Naru) -> list[Way]:
    """Return everything that is asked."""
    url, key = naru.gateway.url, naru.gateway.headers
    token = log_in(naru.process, "--tenant", "demo", "--scope", "inference", "--scope", "agents")

    def post(path: str, *asked: object, headers: Mapping[str, str] = key) -> Target:
        return Target.posts(url + path, [(json.dumps(a).encode(), dict(headers)) for a in asked])

    chat = "/v1/chat/completions"
    embedding = EmbeddingSettings().model
    turns = [{"message": "How many days of leave?", "session_id": f"s{n}"} for n in range(50)]
    stream = Target.post(url + chat, body(MODEL, stream=True), key)
    return [
        Way("answers", Target.post(url + chat, body(MODEL), key), 40),
        Way("answers of an engine", Target.post(url + chat, body("engine-mock"), token), 10),
        Way("long answers", Target.post(url + chat, body(MODEL, 100_000), key), 2),
        Way("streams", stream, 8),
        Way("agents", post(f"/v1/agents/{naru.env['NARU_AGENT']}/chat", *turns), 2),
        Way("embeddings", post("/v1/embeddings", {"model": embedding, "input": "leave"}), 2),
        Way("refused", post(chat, {"model": MODEL}, headers={"authorization": "Bearer no"}), 2),
        Way("bad", post(chat, {"model": MODEL, "messages": []}), 2),
    ]


async def load(asked: Sequence[Way], seconds: float) -> dict[str, Counter[str]]:
    """Ask everything for so long; return what was answered."""
    results = await asyncio.gather(*(Load(w.target).at_rate(w.rate, seconds, 4) for w in asked))
    told = {}
    for way, result in zip(asked, results, strict=True):
        told[way.name] = Counter({"answered": len(result.latencies), **result.failures})
    return told


async def leave(target: Target, seconds: float) -> None:
    """Begin streams and leave them."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        one = Load(target)
        with contextlib.suppress(OSError):
            await one.begin()
        await asyncio.sleep(_LEAVE_S)
        one.close()


async def break_things(naru: Naru, mock: Gateway, seconds: float) -> list[str]:
    """Do something bad every now and then; return what was done."""

    async def hang() -> None:
        for process in mock.processes:
            process.suspend()
        await asyncio.sleep(_HANG_S)
        for process in mock.processes:
            process.resume()

    async def fail() -> None:
        await asyncio.to_thread(follow, mock, failing=0.5)
        await asyncio.sleep(_HANG_S)
        await asyncio.to_thread(follow, mock)

    def killing(word: str) -> Callable[[], Awaitable[None]]:
        async def kill() -> None:
            for process in naru.process.children(word):
                process.send_signal(signal.SIGKILL if word == "redis" else signal.SIGINT)

        return kill

    faults: dict[str, Callable[[], Awaitable[None]]] = {
        "upstream hung": hang,
        "upstream failed": fail,
        "Redis killed": killing("redis"),
        "PostgreSQL restarted": killing("postgres"),
    }
    done = []
    for _ in range(int(seconds / _FAULT_S) - 1):
        await asyncio.sleep(_FAULT_S)
        name = random.choice(list(faults))
        done.append(name)
        await faults[name]()
    return done


async def watch(processes: Mapping[str, psutil.Process], seconds: float) -> dict[str, Memory]:
    """Look at the memory of processes for so long."""
    memory = {name: Memory() for name in processes}
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        for name, process in processes.items():
            memory[name].add(passed, process.memory_info().rss / 1e6)
        await asyncio.sleep(_LOOK_S)
    return memory


def held(naru: Naru, processes: Mapping[str, psutil.Process]) -> Held:
    """Return what processes hold; they have nothing to do."""
    with urllib.request.urlopen(f"{naru.gateway.url}/metrics", timeout=30) as answer:
        told = answer.read().decode()
    return Held(
        {name: process.num_fds() for name, process in processes.items()},
        {name: process.num_threads() for name, process in processes.items()},
        {name: int(count) for name, count in _TASKS.findall(told)},
    )


async def soak(naru: Naru, mock: Gateway, minutes: float) -> bool:
    """Load and break it, print what came of it, and tell whether that is well."""
    processes = {word: naru.process.children(word)[0] for word in _WORKERS}
    asked = ways(naru)
    streams = next(way.target for way in asked if way.name == "streams")
    seconds = 60 * minutes
    await asyncio.gather(load(asked, _WARM_S), leave(streams, _WARM_S))
    await asyncio.sleep(_CALM_S)
    before = held(naru, processes)
    answers, _, faults, memory = await asyncio.gather(
        load(asked, seconds),
        leave(streams, seconds),
        break_things(naru, mock, seconds),
        watch(processes, seconds),
    )
    await asyncio.sleep(_CALM_S)
    show(answers, faults, memory)
    more = held(naru, processes).more_than(before)
    print("\n".join(more) or "descriptors, threads and tasks: as many as before")
    grew = [name for name, each in memory.items() if each.slope > _MOST_MB_PER_HOUR]
    return not more and not (grew and minutes >= _JUDGED_MINUTES)


def show(
    answers: Mapping[str, Counter[str]], faults: Sequence[str], memory: Mapping[str, Memory]
) -> None:
    """Print what was asked, what was broken, and how memory grew."""
    for name, counts in answers.items():
        print(f"{name:<22}", ", ".join(f"{what} {count:,}" for what, count in counts.items()))
    print("faults:", ", ".join(f"{name} {count}" for name, count in Counter(faults).items()))
    for name, each in memory.items():
        parts = " ".join(f"{megabytes:.1f}" for _, megabytes in each.parts)
        print(f"{name:<22} {parts} MB, {each.slope:+.1f} MB/h when warm")


def main() -> None:
    """Soak; the exit status tells whether anything was left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    minutes = parser.parse_args().minutes
    prepare()
    with (
        tempfile.TemporaryDirectory(prefix="naru-soak-") as folder,
        run_mock() as mock,
        run_naru(Path(folder), mock.url, {"auth": {"token_ttl_s": 3600}}) as naru,
    ):
        well = uvloop.run(soak(naru, mock, minutes))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
