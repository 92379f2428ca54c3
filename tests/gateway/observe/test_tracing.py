"""Traces of real requests: which spans, under whom, what they say, and who is told of them."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from gateway_support import Service, client_of, replica_of
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    Metric,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from upstream_support import COMPLETION, DONE, HI, ROLE, STOP, Upstream, json_answer

from gateway.observe import exporting

_SECRET = "연차-marker-휴가는 며칠인가요?"
_TRACE, _SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
_SAMPLED = {"traceparent": f"00-{_TRACE}-{_SPAN}-01", "tracestate": "vendor=x"}
_UNSAMPLED = {"traceparent": f"00-{_TRACE}-{_SPAN}-00"}


@pytest.fixture(scope="module")
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


class _Told(ConsoleMetricExporter):
    """Keeps what was exported last."""

    last: MetricsData | None = None

    def export(self, metrics_data: MetricsData, *_: object, **__: object) -> MetricExportResult:
        self.last = metrics_data
        return MetricExportResult.SUCCESS

    async def next(self) -> dict[str, Metric]:
        self.last = None
        async with asyncio.timeout(30):
            while self.last is None:
                await asyncio.sleep(0.01)
        return {each.name: each for each in self.last.resource_metrics[0].scope_metrics[0].metrics}


@pytest.fixture(scope="module")
def told() -> _Told:
    return _Told()


@pytest.fixture(scope="module")
async def traced(
    service: Service,
    sockets: Path,
    data_dir: Path,
    redis_url: str,
    upstream: Upstream,
    exported: InMemorySpanExporter,
    told: _Told,
) -> AsyncIterator[Service]:
    """A replica that exports each span as it ends, and traces whom its caller does."""
    settings = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "providers": {
            "down": {"base_url": "http://127.0.0.1:9/v1"},
            "fake": {"base_url": upstream.url},
        },
        "engines": {"ours": {"urls": [upstream.url]}},
        "masking": {"egress": "mask"},
        "models": {"smart": ["down/x", "fake/gpt-x"], "lone": ["down/lone"]},
        "telemetry": {"exporter": "console", "sample_ratio": 0, "export_interval_s": 0.1},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "span_exporter", lambda _: exported)
        patch.setattr(exporting, "BatchSpanProcessor", lambda each, **_: SimpleSpanProcessor(each))
        patch.setattr(exporting, "metric_exporter", lambda _: told)
        async with replica_of(service, sockets, settings) as opened:
            yield opened


@pytest.fixture
async def http(traced: Service, exported: InMemorySpanExporter) -> AsyncIterator[httpx.AsyncClient]:
    exported.clear()
    traced.forget_retries()
    async with client_of(traced, traced.key) as client:
        yield client


async def _ask(
    http: httpx.AsyncClient, model: str, headers: dict[str, str], **more: object
) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": _SECRET}], **more}
    return await http.post("/v1/chat/completions", json=body, headers=headers)


async def _spans(exported: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """Return the spans by name, once the request's own is there."""
    async with asyncio.timeout(30):
        while not any(span.kind is SpanKind.SERVER for span in exported.get_finished_spans()):
            await asyncio.sleep(0.01)
    return {span.name: span for span in exported.get_finished_spans()}


def _parent(span: ReadableSpan, spans: dict[str, ReadableSpan]) -> str | None:
    ids = {each.context.span_id: name for name, each in spans.items()}
    return ids.get(span.parent.span_id) if span.parent else None


async def test_a_fallback_is_a_tree_of_spans(
    http: httpx.AsyncClient, upstream: Upstream, exported: InMemorySpanExporter
):
    upstream.stream(ROLE, HI, HI, STOP, DONE)
    answer = await _ask(http, "smart", _SAMPLED, stream=True, temperature=0.5, max_tokens=7)
    assert answer.text.endswith("data: [DONE]\n\n")
    spans = await _spans(exported)

    root = spans["POST /v1/chat/completions"]
    assert f"{root.context.trace_id:032x}" == _TRACE
    assert root.parent
    assert f"{root.parent.span_id:016x}" == _SPAN
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["naru.request_id"] == answer.headers["x-request-id"]
    for name in ("auth", "limits", "masking", "chat x", "chat gpt-x", "settlement"):
        assert _parent(spans[name], spans) == root.name, name
    assert {span.context.trace_id for span in spans.values()} == {root.context.trace_id}


async def test_attempts_say_what_the_conventions_want(
    http: httpx.AsyncClient, upstream: Upstream, exported: InMemorySpanExporter
):
    upstream.stream(ROLE, HI, HI, STOP, DONE)
    await _ask(http, "smart", _SAMPLED, stream=True, temperature=0.5, max_tokens=7)
    spans = await _spans(exported)

    failed, answered = spans["chat x"], spans["chat gpt-x"]
    assert failed.kind is answered.kind is SpanKind.CLIENT
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes["error.type"] == "upstream_unreachable"
    told = dict(answered.attributes)
    assert told.pop("gen_ai.response.time_to_first_chunk") > 0
    assert told.pop("gen_ai.usage.input_tokens") > 0
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
    }
    assert failed.end_time < answered.end_time


async def test_an_engines_server_is_told_the_span_that_asks_it(
    http: httpx.AsyncClient, upstream: Upstream, exported: InMemorySpanExporter
):
    upstream.answer = lambda _: json_answer(COMPLETION)
    assert (await _ask(http, "ours", _SAMPLED)).status_code == 200
    spans = await _spans(exported)

    engine = spans["engine"]
    asked = {name.lower(): value for name, value in upstream.headers[-1].items()}
    assert asked["traceparent"] == f"00-{_TRACE}-{engine.context.span_id:016x}-01"
    assert asked["tracestate"] == "vendor=x"
    assert _parent(engine, spans) == "chat ours"
    assert spans["chat ours"].attributes["gen_ai.provider.name"] == "vllm"


async def test_a_hosted_target_is_told_nothing_unless_the_settings_say_so(
    http: httpx.AsyncClient, upstream: Upstream
):
    upstream.answer = lambda _: json_answer(COMPLETION)
    await _ask(http, "fake/gpt-x", _SAMPLED)

    assert not {"traceparent", "tracestate"} & {name.lower() for name in upstream.headers[-1]}


async def test_who_is_not_sampled_leaves_no_span_but_its_trace_goes_on(
    http: httpx.AsyncClient, upstream: Upstream, exported: InMemorySpanExporter
):
    upstream.answer = lambda _: json_answer(COMPLETION)
    await _ask(http, "ours", _UNSAMPLED)
    asked = {name.lower(): value for name, value in upstream.headers[-1].items()}
    await _ask(http, "ours", {})
    alone = {name.lower(): value for name, value in upstream.headers[-1].items()}

    assert asked["traceparent"] == f"00-{_TRACE}-{_SPAN}-00"
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", alone["traceparent"])
    assert exported.get_finished_spans() == ()


async def test_a_turn_shows_its_search_leg_by_leg(
    http: httpx.AsyncClient, exported: InMemorySpanExporter
):
    body = {"message": "병가는 며칠까지 유급으로 사용할 수 있나요?"}
    answer = await http.post("/v1/agents/hr/chat", json=body, headers=_SAMPLED)
    assert answer.status_code == 200
    spans = await _spans(exported)

    turn = spans["invoke_agent hr"]
    assert _parent(turn, spans) == "POST /v1/agents/{name}/chat"
    assert turn.attributes["gen_ai.agent.name"] == "hr"
    assert _parent(spans["retrieval"], spans) == turn.name
    asked = [span for name, span in spans.items() if name.startswith("chat ")]
    assert {_parent(span, spans) for span in asked} == {turn.name}
    for leg in ("embedding", "words", "vectors"):
        assert _parent(spans[leg], spans) == "retrieval"
        assert spans["retrieval"].start_time <= spans[leg].start_time
        assert spans[leg].end_time <= spans["retrieval"].end_time


async def test_no_span_holds_what_was_said(
    http: httpx.AsyncClient, upstream: Upstream, exported: InMemorySpanExporter
):
    upstream.answer = lambda _: json_answer(COMPLETION)
    for model in ("smart", "hr", "ours"):
        await _ask(http, model, _SAMPLED)
    await http.post("/v1/agents/hr/chat", json={"message": _SECRET}, headers=_SAMPLED)
    await http.get(f"/v1/sessions/{_SECRET}", headers=_SAMPLED)
    await _spans(exported)

    told = " ".join(span.to_json() for span in exported.get_finished_spans())
    for words in ("marker", "연차", "\\uc5f0\\ucc28", "15일", "acme"):
        assert words not in told, words


async def test_answers_say_how_long_what_took(http: httpx.AsyncClient, upstream: Upstream):
    upstream.stream(ROLE, HI, STOP, DONE)
    answer = await _ask(http, "fake/gpt-x", {}, stream=True)
    turn = await http.post("/v1/agents/hr/chat", json={"message": _SECRET})

    phases = re.findall(r"([a-z]+);dur=[0-9]+\.[0-9]{2}(?:, |$)", answer.headers["server-timing"])
    assert phases[0] == "auth"
    assert "upstream" in phases
    assert "retrieval;dur=" in turn.headers["server-timing"]


async def test_who_collects_by_otlp_has_the_conventions_metrics(
    http: httpx.AsyncClient,
    upstream: Upstream,
    exported: InMemorySpanExporter,
    told: _Told,
):
    upstream.stream(ROLE, HI, HI, STOP, DONE)
    await _ask(http, "smart", _SAMPLED, stream=True)
    await _ask(http, f"fake/{_SECRET}", _SAMPLED, stream=True)
    await _spans(exported)

    metrics = await told.next()
    tokens = metrics["gen_ai.client.token.usage"].data.data_points
    assert metrics["gen_ai.client.token.usage"].unit == "{token}"
    assert metrics["gen_ai.client.operation.duration"].unit == "s"
    assert "gen_ai.client.operation.time_to_first_chunk" in metrics
    known = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.token.type": "output",
    }
    assert known in [dict(point.attributes) for point in tokens]
    assert not any("marker" in metric.to_json() for metric in metrics.values())


async def test_a_target_that_rests_is_told(http: httpx.AsyncClient):
    for _ in range(5):
        assert (await _ask(http, "lone", {})).status_code in (502, 503)
    text = (await http.get("/metrics")).text

    assert 'naru_target_resting{target="down/lone"} 1.0' in text
    assert 'naru_target_resting{target="engine/ours"} 0.0' in text
    assert 'naru_engine_queue_length{engine="ours"} 0.0' in text
