"""What was asked and answered, on spans: where the settings want it, masked."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from config.telemetry import TelemetrySettings
from gateway.generation.target import Comment, Completion, Stream
from gateway.govern.charge import Attempt, Exchange, begin_exchange
from gateway.govern.masking.hide import Hider
from gateway.govern.masking.policy import Policy
from gateway.observe.asking import Asking, end_span
from gateway.observe.tracing import Tracing

_NUMBER = "900101-1234567"
_FIELDS = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": f"I am {_NUMBER}."}]},
    ]
}


class _Payloads:
    def __init__(self, *payloads: bytes) -> None:
        self._payloads = iter(payloads)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for payload in self._payloads:
            return payload
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._payloads = iter(())


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(params=[True])
def _traced(request: pytest.FixtureRequest, exported: InMemorySpanExporter) -> Iterator[None]:
    """This test is a request that is traced, with or without what it says."""
    settings = TelemetrySettings(exporter="console", sample_ratio=1, content=request.param)
    tracing = Tracing(settings, Hider(Policy.of({"default": "mask"})).whole)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    tracing.tracer = provider.get_tracer("test")
    begin_exchange(Exchange(trace=tracing.begin([])))
    yield
    begin_exchange(Exchange())
    provider.shutdown()


def _messages(exported: InMemorySpanExporter, name: str) -> list[tuple[str, str]]:
    (span,) = exported.get_finished_spans()
    assert span.attributes
    told = json.loads(str(span.attributes[name]))
    return [(message["role"], message["parts"][0]["content"]) for message in told]


@pytest.mark.usefixtures("_traced")
async def test_a_whole_answer_is_told_masked(exported: InMemorySpanExporter):
    attempt = Attempt("fake/gpt-x", "hosted")
    body = b'{"choices":[{"message":{"content":"You are %s."}}]}' % _NUMBER.encode()
    with Asking(attempt, "chat", _FIELDS, stream=False) as asking:
        pass
    asking.heard(Completion(body, "fake/gpt-x"))
    end_span(attempt)

    asked = [("system", "Be brief."), ("user", "I am [RESIDENT].")]
    assert _messages(exported, "gen_ai.input.messages") == asked
    assert _messages(exported, "gen_ai.output.messages") == [("assistant", "You are [RESIDENT].")]


@pytest.mark.usefixtures("_traced")
async def test_a_stream_is_told_as_one_text(exported: InMemorySpanExporter):
    attempt = Attempt("fake/gpt-x", "hosted")
    chunks = [
        b'{"choices":[{"delta":{"content":"%s"}}]}' % part
        for part in (b"You are 900101-", b"1234567.")
    ]
    with Asking(attempt, "chat", _FIELDS, stream=True) as asking:
        pass
    opened = asking.heard(Stream(_Payloads(chunks[0], Comment(b"wait"), chunks[1]), "fake/gpt-x"))
    assert [payload async for payload in opened.payloads] == [chunks[0], b"wait", chunks[1]]
    end_span(attempt)

    assert _messages(exported, "gen_ai.output.messages") == [("assistant", "You are [RESIDENT].")]


@pytest.mark.usefixtures("_traced")
@pytest.mark.parametrize("_traced", [False], indirect=True)
async def test_by_default_nothing_is_told(exported: InMemorySpanExporter):
    attempt = Attempt("fake/gpt-x", "hosted")
    stream = Stream(_Payloads(), "fake/gpt-x")
    with Asking(attempt, "chat", _FIELDS, stream=True) as asking:
        pass

    assert asking.heard(stream) is stream
    end_span(attempt)
    (span,) = exported.get_finished_spans()
    assert not {name for name in span.attributes or () if name.endswith("messages")}
