"""How fast the gateway is, beside others in the same run: `make bench` (ARGS="--quick").

Everything stands behind the same mock upstream and is asked by the same load, in turns. The
gateway has one core for itself; the mock, the stores and the load share the others.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from load import Load, Result, Target, percentile
from rig import Gateway, follow, pin_here, run_mock, run_naru

CONNECTIONS = 64


def body(model: str, size: int = 200, *, stream: bool = False) -> bytes:
    """Return a chat completion's body of about `size` bytes."""
    message = {"role": "user", "content": ""}
    asked = {"model": model, "messages": [message]} | ({"stream": True} if stream else {})
    message["content"] = "x" * max(1, size - len(json.dumps(asked)))
    return json.dumps(asked).encode()


def target(gateway: Gateway, size: int = 200, *, stream: bool = False) -> Target:
    """Return where and how this gateway is asked."""
    asked = body(gateway.model, size, stream=stream)
    return Target.post(gateway.url + gateway.path, asked, gateway.headers)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a gateway did in a while, and how long it computed for it."""

    result: Result
    cpu_s: float

    @property
    def cpu_us_per_answer(self) -> float:
        """Return microseconds of CPU time for an answer."""
        return self.cpu_s * 1e6 / max(1, len(self.result.latencies))

    @property
    def cpu_us_per_chunk(self) -> float:
        """Return microseconds of CPU time for a streamed chunk, the stream's beginning included."""
        return self.cpu_s * 1e6 / max(1, self.result.chunks)


def saturate(gateway: Gateway, asked: Target, connections: int, seconds: float) -> Cost:
    """Keep so many requests under way for so long."""
    before = gateway.cpu_s()
    result = uvloop.run(Load(asked).saturate(connections, seconds))
    return Cost(result, gateway.cpu_s() - before)


def at_rate(gateway: Gateway, asked: Target, rate: float, seconds: float) -> Cost:
    """Ask so often, whatever is answered."""
    before = gateway.cpu_s()
    result = uvloop.run(Load(asked).at_rate(rate, seconds))
    return Cost(result, gateway.cpu_s() - before)


def quick(mock: Gateway, gateways: Sequence[Gateway], seconds: float) -> None:
    """Print what a request and a chunk cost."""
    follow(mock)
    for gateway in gateways:
        asked = target(gateway)
        saturate(gateway, asked, CONNECTIONS, seconds / 2)
        cost = saturate(gateway, asked, CONNECTIONS, seconds)
        print(
            f"{gateway.name:<14} {cost.result.rate:9,.0f} requests/s at {CONNECTIONS} connections,"
            f" {cost.cpu_us_per_answer:7.1f} µs of CPU each {cost.result.failures or ''}"
        )
    for name, connections, script in (
        ("20 ms apart", 50, {"chunks": 100, "interval_ms": 20}),
        ("20 ms apart", 200, {"chunks": 100, "interval_ms": 20}),
        ("full speed", 50, {"chunks": 2000, "interval_ms": 0, "burst": 8}),
    ):
        follow(mock, **script)
        for gateway in gateways:
            cost = saturate(gateway, target(gateway, stream=True), connections, seconds)
            result = cost.result
            print(
                f"{gateway.name:<14} {result.chunks / result.seconds:9,.0f} chunks/s of"
                f" {connections} streams, {name}, {cost.cpu_us_per_chunk:6.1f} µs of CPU each,"
                f" first p50 {1e3 * percentile(result.firsts, 0.5):.2f} ms,"
                f" under way p50 {1e3 * percentile(result.delays, 0.5):.2f}"
                f" p99 {1e3 * percentile(result.delays, 0.99):.2f} ms {result.failures or ''}"
            )


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Naru alone, in under a minute")
    parser.add_argument("--engine", action="store_true", help="by the engines' way too")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    arguments = parser.parse_args()
    pin_here()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="naru-bench-") as folder,
        run_mock() as mock,
        run_naru(Path(folder), mock.url) as naru,
    ):
        ways = [naru.engine] if arguments.engine else []
        pids = [process.pid for process in naru.gateway.processes]
        print(f"started in {time.monotonic() - began:.1f} s; the web worker is process {pids}")
        quick(mock, [mock, naru.gateway, *ways], arguments.seconds)


if __name__ == "__main__":
    main()
