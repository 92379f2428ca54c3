"""A search: how long its legs took, and how near the best passage is."""

import time
from collections.abc import Awaitable

from gateway.govern.charge import current_exchange
from gateway.observe import metrics
from gateway.observe.phases import Phase
from rag import Retrieval

_TOTAL = "total"
_NS = 10**9


async def searched(searching: Awaitable[Retrieval]) -> Retrieval:
    """Return what a search finds, once it is counted."""
    with Phase("retrieval"):
        found = await searching
        _trace(found)
    for leg, took_s in found.timings.items():
        metrics.RETRIEVAL_LEG_DURATION.observe(took_s, leg)
    metrics.SIMILARITY.observe(found.passages[0].score if found.passages else 0.0)
    return found


def _trace(found: Retrieval) -> None:
    tracer = current_exchange().trace.tracer
    if tracer is None:
        return
    epoch_ns = time.time_ns() - round(time.perf_counter() * _NS)
    for leg, took_s in found.timings.items():
        if leg != _TOTAL:
            ended_ns = epoch_ns + round(found.ends[leg] * _NS)
            tracer.start_span(leg, start_time=ended_ns - round(took_s * _NS)).end(ended_ns)
