"""Where a request's CPU time goes in a web worker: `make bench-phases` (ARGS="--way stream").

py-spy samples the worker while it is kept busy; each sample counts for the innermost phase below
that has a frame in it. What no phase claims is named by its library.
"""

import argparse
import json
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from load import Target
from measures import FULL_SPEED, saturate, target
from peers import installed_from_pypi
from rig import Naru, follow, prepare, run_mock, run_naru

_PY_SPY = "py-spy==0.4.3"
_RATE = 500
_CONNECTIONS = 32
_FRAME = re.compile(r"\(([^():]+?\.pyx?)(?::\d+)?\)$")
OTHER = "event loop, sockets and the rest"
# By the first that the file's path has; libraries only where no phase is further out.
PHASES = (
    ("auth/", "verification"),
    ("gateway/guards", "verification"),
    ("gateway/govern/limits", "limits"),
    ("gateway/govern/budgets", "money"),
    ("gateway/govern/money", "money"),
    ("gateway/govern/prices", "money"),
    ("gateway/generation/paid", "money"),
    ("gateway/govern/ledger", "ledger"),
    ("gateway/govern/journal", "ledger"),
    ("gateway/govern/masking", "masking"),
    ("gateway/govern/guardrails", "guardrails"),
    ("gateway/govern/", "account"),
    ("gateway/observe/", "telemetry"),
    ("gateway/exchanges", "telemetry"),
    ("opentelemetry/", "telemetry"),
    ("gateway/generation/upstream", "upstream client"),
    ("aiohttp/", "upstream client"),
    ("gateway/generation/", "ladder"),
    ("gateway/openai/", "wire structs"),
    ("gateway/sse", "streams"),
    ("gateway/sessions/", "sessions"),
    ("gateway/agents/", "agent"),
    ("rag/", "retrieval"),
    ("gateway/routes/", "routes"),
)
LIBRARIES = (
    ("gateway/web_worker", OTHER),
    ("uvicorn/server", OTHER),
    ("gateway/", "the rest of the gateway"),
    ("asyncpg/", "PostgreSQL client"),
    ("redis/", "Redis client"),
    ("litestar/", "Litestar"),
    ("uvicorn/", "uvicorn"),
)
# The innermost frames of threads that wait for work, which py-spy takes for busy.
_WAITING = ("Condition.wait (threading", "_worker (concurrent/futures/thread")


def phase_of(frames: Sequence[str]) -> str:
    """Return the phase of a stack, outermost frame first."""
    paths = [found.group(1) for frame in reversed(frames) if (found := _FRAME.search(frame))]
    for names in (PHASES, LIBRARIES):
        for path in paths:
            for part, phase in names:
                if path.startswith(part) or f"/{part}" in path:
                    return phase
    return OTHER


def shares(folded: Iterable[str]) -> dict[str, float]:
    """Return each phase's share of the samples, the largest first; idle ones don't count."""
    counts: Counter[str] = Counter()
    for line in folded:
        stack, _, samples = line.rpartition(" ")
        frames = stack.split(";")
        if not frames[-1].startswith(_WAITING):
            counts[phase_of(frames)] += int(samples)
    total = counts.total()
    return {phase: count / total for phase, count in counts.most_common()}


def sample(pid: int, seconds: float, out: Path) -> "subprocess.Popen[bytes]":
    """Begin to sample the process; it ends by itself."""
    program = installed_from_pypi(_PY_SPY) / "bin" / "py-spy"
    arguments = ["--pid", str(pid), "--duration", str(int(seconds)), "--rate", str(_RATE)]
    return subprocess.Popen(
        [str(program), "record", *arguments, "--format", "raw", "--output", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def asked(naru: Naru, way: str) -> Target:
    """Return what is asked on this way."""
    if way == "agent":
        bodies = [{"message": f"How many days of leave? {n}"} for n in range(100)]
        url = f"{naru.gateway.url}/v1/agents/{naru.env['NARU_AGENT']}/chat"
        return Target.posts(url, [(json.dumps(b).encode(), naru.gateway.headers) for b in bodies])
    return target(naru.gateway, stream=way == "stream")


def main() -> None:
    """Sample, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", choices=["chat", "stream", "agent"], default="chat")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    prepare()
    with (
        tempfile.TemporaryDirectory(prefix="naru-phases-") as folder,
        run_mock() as mock,
        run_naru(Path(folder), mock.url) as naru,
    ):
        request = asked(naru, arguments.way)
        follow(mock, **(FULL_SPEED if arguments.way == "stream" else {}))
        plain = saturate(naru.gateway, request, _CONNECTIONS, arguments.seconds / 2)
        out = Path(folder) / "stacks"
        sampler = sample(naru.gateway.processes[0].pid, arguments.seconds, out)
        saturate(naru.gateway, request, _CONNECTIONS, arguments.seconds + 2)
        sampler.wait(60)
        told = shares(out.read_text(encoding="utf-8").splitlines())
    stream = arguments.way == "stream"
    whole = plain.cpu_us_per_chunk if stream else plain.cpu_us_per_answer
    print(f"{whole:9,.1f} µs of CPU for each {'chunk' if stream else 'request'}")
    for phase, share in told.items():
        print(f"{share * whole:9,.1f} µs {share:6.1%} {phase}")


if __name__ == "__main__":
    main()
