"""How fast the gateway is, beside others in the same run: `make bench` (ARGS="--quick").

Everything stands behind the same mock upstream and is asked by the same load, in turns. The
gateway has one core for itself; the mock, the stores and the load share the others.
"""

import argparse
import contextlib
import datetime as dt
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from load import percentile
from measures import (
    AMONG,
    CONNECTIONS,
    FULL_SPEED,
    PACED,
    SILENT,
    Measures,
    among_streams,
    holding,
    measure_all,
    saturate,
    target,
)
from peers import PEERS, Unavailable, install, run_peer
from report import document, machine, medians, save, write_into
from rig import Gateway, Naru, follow, prepare, run_mock, run_naru

ROOT = Path(__file__).resolve().parent.parent
JSON = ROOT / ".naru" / "bench.json"
AGENT_JSON = ROOT / ".naru" / "bench-agent.json"
PAGE = ROOT / "docs" / "performance.md"
_MANY_STREAMS = 8_000


def parse_arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Naru alone, in a good minute")
    parser.add_argument("--engine", action="store_true", help="--quick: by the engines' way too")
    parser.add_argument("--short", action="store_true", help="everybody, in about ten minutes")
    parser.add_argument("--install", action="store_true", help="only install the peers")
    parser.add_argument("--peers", nargs="*", default=[peer.name for peer in PEERS])
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    return parser.parse_args()


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
    for name, streams, script in (
        ("20 ms apart", 50, PACED),
        ("20 ms apart", 200, PACED),
        ("full speed", 50, FULL_SPEED),
    ):
        follow(mock, **script)
        for gateway in gateways:
            cost = saturate(gateway, target(gateway, stream=True), streams, seconds)
            result = cost.result
            print(
                f"{gateway.name:<14} {result.chunks / result.seconds:9,.0f} chunks/s of"
                f" {streams} streams, {name}, {cost.cpu_us_per_chunk:6.1f} µs of CPU each,"
                f" under way p50 {1e3 * percentile(result.delays, 0.5):.2f}"
                f" p99 {1e3 * percentile(result.delays, 0.99):.2f} ms {result.failures or ''}"
            )
    follow(mock, **PACED)
    for streams in AMONG:
        for gateway in gateways:
            result = among_streams(gateway, streams, seconds)
            print(
                f"{gateway.name:<14} begins a stream among {streams} in"
                f" p50 {1e3 * percentile(result.firsts, 0.5):.2f}"
                f" p99 {1e3 * percentile(result.firsts, 0.99):.2f} ms {result.failures or ''}"
            )


def compare(arguments: argparse.Namespace) -> None:
    """Measure Naru and its peers; print, save and write down what came of it."""
    seconds = arguments.seconds or (2.0 if arguments.short else 5.0)
    rounds = arguments.rounds or (2 if arguments.short else 3)
    before, missing = machine(), {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="naru-bench-")))
        mock = stack.enter_context(run_mock())
        naru = stack.enter_context(run_naru(folder, mock.url))
        gateways = [mock, naru.gateway]
        for peer in (peer for peer in PEERS if peer.name in arguments.peers):
            print(f"starting {peer.name} {peer.version}", file=sys.stderr)
            try:
                running = run_peer(peer, folder / peer.name, mock.url)
                gateways.append(stack.enter_context(running))
            except Unavailable as error:
                missing[peer.name] = str(error)
        measures = measure_all(mock, gateways, seconds=seconds, rounds=rounds)
        _hold_many(measures, mock, naru, seconds)
    report = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": before,
        "versions": {peer.name: peer.version for peer in PEERS if peer.name not in missing},
        "seconds": seconds,
        "rounds": rounds,
        "missing": missing,
        "failures": measures.failures,
        "figures": _with_turns(medians(measures.figures)),
    }
    _publish(report, write=arguments.write)


def _with_turns(figures: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Add what `make bench-agent` measured last, where it was."""
    if AGENT_JSON.exists():
        figures["Naru"] |= json.loads(AGENT_JSON.read_text(encoding="utf-8"))["figures"]
    return figures


def _hold_many(measures: Measures, mock: Gateway, naru: Naru, seconds: float) -> None:
    follow(mock, **SILENT)
    holding(_MANY_STREAMS)(measures, naru.gateway, seconds)


def _publish(report: dict[str, Any], *, write: bool) -> None:
    save(JSON, report)
    print(document(report))
    if write:
        write_into(PAGE, report)


def main() -> None:
    """Measure as the arguments say."""
    arguments = parse_arguments()
    if arguments.install:
        for peer in PEERS:
            with contextlib.suppress(Unavailable):
                print(install(peer))
        return
    prepare()
    if not arguments.quick:
        compare(arguments)
        return
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="naru-bench-") as folder,
        run_mock() as mock,
        run_naru(Path(folder), mock.url) as naru,
    ):
        ways = [naru.engine] if arguments.engine else []
        pids = [process.pid for process in naru.gateway.processes]
        print(f"started in {time.monotonic() - began:.1f} s; the web worker is process {pids}")
        quick(mock, [mock, naru.gateway, *ways], arguments.seconds or 3.0)


if __name__ == "__main__":
    main()
