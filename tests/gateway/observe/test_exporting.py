"""An OTLP collector that takes everything and never answers."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from config.telemetry import TelemetrySettings
from gateway.observe import metrics
from gateway.observe.exporting import exporting
from gateway.observe.tracing import Tracing


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def test_a_collector_that_hangs_holds_nothing_up(silent: int):
    settings = TelemetrySettings.model_validate(
        {
            "exporter": "otlp",
            "otlp_url": f"http://127.0.0.1:{silent}",
            "export_interval_s": 3600,
            "flush_timeout_s": 0.5,
            "max_queue": 4,
        }
    )
    dropped = metrics.SPANS_DROPPED.values.get((), 0)
    tracing = Tracing(settings)
    async with asyncio.timeout(60):
        async with exporting(tracing, settings, "test"):
            assert tracing.tracer
            for number in range(100):
                tracing.tracer.start_span(str(number)).end()
        assert tracing.tracer is None
        while metrics.SPANS_DROPPED.values.get((), 0) == dropped:
            await asyncio.sleep(0.05)
