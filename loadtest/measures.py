"""What is measured of a gateway, and how: each measurement takes seconds, all take turns."""

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import uvloop
from load import Load, Result, Target, percentile
from rig import Gateway, follow

CONNECTIONS = 64
SIZES = {"0.2 kB": 200, "8 kB": 8_000, "400 kB": 400_000}
RATES = (60, 500, 2000)
STREAMS = (1, 50, 200, 500)
PACED = {"chunks": 100, "interval_ms": 20}
_PACED_S = 2.0
_PACED_CHUNKS_PER_S = 50
# So many are open on average while others begin.
AMONG = (50, 200)
FULL_SPEED = {"chunks": 2000, "interval_ms": 0, "burst": 8}
# The first content at once, then silence.
SILENT = {"chunks": 2, "interval_ms": 3_600_000}
HELD = 500
_HEALTH_RATE = 50
# What a gateway is asked at a fixed rate, as a share of what it can do: above, a queue is measured.
_MOST_OF_SATURATION = 0.8
_LEAST_BEGUN = 100
_CALM_S = 60.0
_LOOK_S = 0.15
_IDLE_SHARE = 0.1


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
        return self.cpu_s * 1e6 / (len(self.result.latencies) or math.nan)

    @property
    def cpu_us_per_chunk(self) -> float:
        """Return microseconds of CPU time for a streamed chunk, the stream's beginning included."""
        return self.cpu_s * 1e6 / (self.result.chunks or math.nan)


def calm(gateway: Gateway) -> None:
    """Return when it has done with what it was asked before; a slow one goes on for a while."""
    deadline = time.monotonic() + _CALM_S
    while time.monotonic() < deadline:
        before = gateway.cpu_s()
        time.sleep(_LOOK_S)
        if gateway.cpu_s() - before <= _IDLE_SHARE * _LOOK_S:
            return


def saturate(gateway: Gateway, asked: Target, connections: int, seconds: float) -> Cost:
    """Keep so many requests under way for so long."""
    calm(gateway)
    before = gateway.cpu_s()
    result = uvloop.run(Load(asked).saturate(connections, seconds))
    return Cost(result, gateway.cpu_s() - before)


def at_rate(gateway: Gateway, asked: Target, rate: float, seconds: float) -> Cost:
    """Ask so often, whatever is answered."""
    calm(gateway)
    before = gateway.cpu_s()
    result = uvloop.run(Load(asked).at_rate(rate, seconds))
    return Cost(result, gateway.cpu_s() - before)


def among_streams(gateway: Gateway, streams: int, seconds: float) -> Result:
    """Begin paced streams at random while about so many are open."""
    calm(gateway)
    asked = Load(target(gateway, stream=True))
    enough = _LEAST_BEGUN * _PACED_S / streams
    return uvloop.run(asked.among_streams(streams, _PACED_S, max(seconds, enough)))


@dataclass(slots=True)
class Measures:
    """Figures by gateway and name, one for each round, and what went wrong."""

    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)

    def add(self, gateway: Gateway, **figures: float) -> None:
        """Remember a round's figures."""
        for name, value in figures.items():
            self.figures.setdefault(gateway.name, {}).setdefault(name, []).append(value)

    def count_failures(self, gateway: Gateway, what: str, failures: Mapping[str, int]) -> None:
        """Remember what was not answered as it should be."""
        for reason, count in failures.items():
            key = f"{gateway.name}, {what}: {reason}"
            self.failures[key] = self.failures.get(key, 0) + count

    def last(self, gateway: Gateway, name: str) -> float:
        """Return the newest figure; 0 where there is none."""
        return self.figures.get(gateway.name, {}).get(name, [0.0])[-1]


Measure = Callable[[Measures, Gateway, float], None]


def throughput(size: str) -> Measure:
    """Return the measurement of how many requests of this size it answers."""

    def measure(measures: Measures, gateway: Gateway, seconds: float) -> None:
        cost = saturate(gateway, target(gateway, SIZES[size]), CONNECTIONS, seconds)
        rate, cpu = f"requests/s, {size}", f"CPU µs/request, {size}"
        measures.add(gateway, **{rate: cost.result.rate, cpu: cost.cpu_us_per_answer})
        measures.count_failures(gateway, size, cost.result.failures)

    return measure


def latency(rate: int) -> Measure:
    """Return the measurement of how long an answer takes at this rate."""

    def measure(measures: Measures, gateway: Gateway, seconds: float) -> None:
        if rate > _MOST_OF_SATURATION * measures.last(gateway, "requests/s, 0.2 kB"):
            return
        result = at_rate(gateway, target(gateway), rate, max(seconds, 240 / rate)).result
        for share in (50, 99):
            value = 1000 * percentile(result.latencies, share / 100)
            measures.add(gateway, **{f"ms p{share}, {rate}/s": value})
        measures.count_failures(gateway, f"{rate}/s", result.failures)

    return measure


def streaming(streams: int, name: str) -> Measure:
    """Return the measurement of how streamed chunks are relayed; `name` says at which pace."""

    def measure(measures: Measures, gateway: Gateway, seconds: float) -> None:
        if not gateway.streams:
            return
        cost = saturate(gateway, target(gateway, stream=True), streams, seconds)
        result = cost.result
        figures = {
            "chunks/s": result.chunks / result.seconds,
            "CPU µs/chunk": cost.cpu_us_per_chunk,
            "first ms p50, begun at once": 1000 * percentile(result.firsts, 0.5),
            "chunk ms p50": 1000 * percentile(result.delays, 0.5),
            "chunk ms p99": 1000 * percentile(result.delays, 0.99),
        }
        measures.add(gateway, **{f"{key}, {name}": value for key, value in figures.items()})
        measures.count_failures(gateway, name, result.failures)

    return measure


def beginning(streams: int) -> Measure:
    """Return the measurement of how soon a stream begins while about so many are open."""

    def measure(measures: Measures, gateway: Gateway, seconds: float) -> None:
        if not gateway.streams or not _keeps_up(measures, gateway, streams):
            return
        result = among_streams(gateway, streams, seconds)
        for share in (50, 99):
            value = 1000 * percentile(result.firsts, share / 100)
            measures.add(gateway, **{f"first ms p{share}, among {streams} streams": value})
        measures.count_failures(gateway, f"among {streams} streams", result.failures)

    return measure


def _keeps_up(measures: Measures, gateway: Gateway, streams: int) -> bool:
    """Tell whether a core can do the chunks of so many streams; else a queue is measured."""
    chunk_us = measures.last(gateway, f"CPU µs/chunk, {streams} streams")
    return chunk_us * _PACED_CHUNKS_PER_S * streams < 1e6


def holding(streams: int = HELD) -> Measure:
    """Return the measurement of what a silent stream costs, and who waits for it."""

    def measure(measures: Measures, gateway: Gateway, seconds: float) -> None:
        if gateway.streams:
            uvloop.run(_hold(measures, gateway, streams, seconds))

    return measure


async def _hold(measures: Measures, gateway: Gateway, streams: int, seconds: float) -> None:
    load = Load(target(gateway, stream=True))
    before = gateway.memory_bytes()
    try:
        await load.hold(streams)
        kilobytes = (gateway.memory_bytes() - before) / 1000 / max(1, len(load.result.firsts))
        measures.add(gateway, **{f"kB/stream, {streams} silent": kilobytes})
        measures.count_failures(gateway, f"{streams} silent", load.result.failures)
        if gateway.health:
            asked = Load(Target.get(gateway.url + gateway.health))
            health = await asked.at_rate(_HEALTH_RATE, max(seconds, 5.0))
            worst = 1000 * percentile(health.latencies, 0.99)
            measures.add(gateway, **{f"health ms p99, {streams} silent": worst})
            measures.count_failures(gateway, "health", health.failures)
    finally:
        load.close()
        await asyncio.sleep(1.0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the mock does, and what is measured meanwhile."""

    script: Mapping[str, float]
    measure: Measure
    once: bool = False


def scenarios() -> list[Scenario]:
    """Return everything that is measured of every gateway, in this order."""
    return [
        Scenario({}, throughput("0.2 kB")),
        Scenario({}, throughput("8 kB"), once=True),
        Scenario({}, throughput("400 kB"), once=True),
        *(Scenario({}, latency(rate)) for rate in RATES),
        *(Scenario(PACED, streaming(count, f"{count} streams")) for count in STREAMS),
        *(Scenario(PACED, beginning(count)) for count in AMONG),
        Scenario(FULL_SPEED, streaming(50, "full speed"), once=True),
    ]


def measure_all(
    mock: Gateway, gateways: Sequence[Gateway], *, seconds: float, rounds: int
) -> Measures:
    """Measure every gateway in turns; each round goes the other way round."""
    measures = Measures()
    # Memory first: what an allocator has kept from a busier time would hide what a stream takes.
    follow(mock, **SILENT)
    for gateway in gateways:
        measures.add(gateway, **{"MB idle": gateway.memory_bytes() / 1e6})
        holding()(measures, gateway, seconds)
    follow(mock)
    for gateway in gateways:
        saturate(gateway, target(gateway), CONNECTIONS, 1.0)
    for turn in range(rounds):
        for scenario in scenarios():
            if turn and scenario.once:
                continue
            follow(mock, **scenario.script)
            for gateway in gateways[:: -1 if turn % 2 else 1]:
                scenario.measure(measures, gateway, seconds)
    return measures
