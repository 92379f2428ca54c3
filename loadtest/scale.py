"""How throughput grows with cores: web workers that share one PostgreSQL and one Redis.

`make bench-scale` (ARGS="--workers 1 2 4 8"). Every worker has a core of its own, and so have the
stores, the mock upstreams and the loads, as far as there are that many. Everything is on:
verification, limits, a budget, the ledger.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop
from load import Load, Target
from measures import body
from naru_process import NaruProcess
from rig import Gateway, pin, run_mock

_CORES = sorted(os.sched_getaffinity(0))
_CONNECTIONS = 64
_PLENTY = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Way:
    """Where one load asks, and what for."""

    url: str
    model: str
    key: str


def main() -> None:
    """Measure each number of workers; print how the throughput grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--mocks", type=int, default=1, help="how many upstreams there are")
    parser.add_argument("--loads", type=int, default=2, help="how many processes ask")
    parser.add_argument("--load", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        ask(Way(*arguments.load[:3]), float(arguments.load[3]))
        return
    least = max(arguments.workers) + arguments.mocks + arguments.loads + 1
    if len(_CORES) < least:
        print(f"{len(_CORES)} cores for {least} busy processes: they share, and it shows")
    first = 0.0
    for workers in arguments.workers:
        rate, cpu_us = measure(workers, arguments.mocks, arguments.loads, arguments.seconds)
        first = first or rate / workers
        print(
            f"{workers:2} workers {rate:9,.0f} requests/s, {rate / first:5.2f} × one,"
            f" {cpu_us:6.1f} µs of CPU each",
            flush=True,
        )


def measure(workers: int, mocks: int, loads: int, seconds: float) -> tuple[float, float]:
    """Return requests a second, and the workers' microseconds of CPU time for each."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="naru-scale-")))
        upstreams = [stack.enter_context(run_mock()) for _ in range(mocks)]
        process, key = stack.enter_context(run_workers(folder, workers, upstreams))
        children = process.children("gateway.web_worker")
        spread(children, upstreams, process)
        ways = [Way(process.url, f"mock-{number % mocks}", key) for number in range(loads)]
        run_loads(ways, seconds / 2)
        before = sum(sum(child.cpu_times()[:2]) for child in children)
        answers = run_loads(ways, seconds)
        spent = sum(sum(child.cpu_times()[:2]) for child in children) - before
    return answers / seconds, spent * 1e6 / max(1, answers)


@contextlib.contextmanager
def run_workers(
    folder: Path, workers: int, upstreams: Sequence[Gateway]
) -> Iterator[tuple[NaruProcess, str]]:
    """Run a service of so many web workers; return an API key too."""
    file = folder / "naru.yaml"
    file.write_text(json.dumps(_settings(workers, [each.url for each in upstreams])))
    with NaruProcess(folder / "data", "--config", str(file)) as process:
        process.wait_until_ready()
        create = ("client", "create", "--tenant", "load", "--name")
        client, _ = _told(process, *create, "load", "--scope", "inference")
        operator = _told(process, *create, "operator", "--role", "operator", "--scope", "admin")
        names = ("NARU_CLIENT_ID", "NARU_CLIENT_SECRET", "NARU_URL", "NARU_API_KEY")
        process.environ |= dict(zip(names, (*operator, process.url, ""), strict=True))
        _told(process, "budget", "create", "1000000", "--tenant", "load")
        *_, key = _told(process, "key", "create", "--client", client, "--name", "load")
        yield process, key


def _settings(workers: int, urls: Sequence[str]) -> dict[str, Any]:
    each = {"requests_per_minute": _PLENTY, "tokens_per_minute": _PLENTY}
    limits = each | {"concurrent_requests": _PLENTY}
    return {
        "server": {"workers": workers},
        "embedding": {"url": f"{urls[0]}/v1", "model": "none"},
        "providers": {
            f"upstream-{number}": {"base_url": f"{url}/v1", "api_key": "none"}
            for number, url in enumerate(urls)
        },
        "models": {f"mock-{number}": [f"upstream-{number}/mock"] for number in range(len(urls))},
        "prices": {
            f"upstream-{number}/*": {"input": 0.15, "output": 0.6, "longest": 1000}
            for number in range(len(urls))
        },
        "limits": {"tenant": limits, "client": limits, "key": limits},
        "ledger": {"max_open": 20_000},
    }


def _told(process: NaruProcess, *arguments: str) -> list[str]:
    """Run a command; return the values of the `NAME=value` it prints, or its words."""
    done = process.run(*arguments)
    assert done.returncode == 0, done.stderr
    return [word.rpartition("=")[2] for word in done.stdout.split()]


def spread(
    workers: Sequence[psutil.Process], upstreams: Sequence[Gateway], process: NaruProcess
) -> None:
    """Give each worker a core, each mock one, and the stores what is left."""
    cores = [*_CORES]
    for worker in workers:
        pin([worker], [cores[0]])
        cores = [*cores[1:], cores[0]]
    for upstream in upstreams:
        pin(upstream.processes, [cores[0]])
        cores = [*cores[1:], cores[0]]
    rest = cores[: len(_CORES) - len(workers) - len(upstreams)] or _CORES
    busy = {worker.pid for worker in workers}
    for each in process.family():
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.pid not in busy:
                pin([each], rest)
    os.sched_setaffinity(0, rest)


def run_loads(ways: Sequence[Way], seconds: float) -> int:
    """Let every way be asked at once; return how many answers there were."""
    argv = [sys.executable, __file__, "--load"]
    running = [
        subprocess.Popen([*argv, way.url, way.model, way.key, str(seconds)], stdout=subprocess.PIPE)
        for way in ways
    ]
    told = [json.loads(process.communicate()[0]) for process in running]
    assert not any(each["failures"] for each in told), told
    return sum(each["answers"] for each in told)


def ask(way: Way, seconds: float) -> None:
    """Keep connections busy for so long; print what came of it."""
    headers = {"authorization": f"Bearer {way.key}"}
    target = Target.post(f"{way.url}/v1/chat/completions", body(way.model), headers)
    result = uvloop.run(Load(target).saturate(_CONNECTIONS, seconds))
    print(json.dumps({"answers": len(result.latencies), "failures": result.failures}))


if __name__ == "__main__":
    main()
