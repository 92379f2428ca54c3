"""`GET /metrics`: what a scrape is told of real requests, and what it never is."""

import asyncio
from typing import Any

import httpx
from gateway_support import Service, client_of
from prometheus_client.parser import text_string_to_metric_families
from upstream_support import COMPLETION, DONE, HI, ROLE, STOP, Upstream, json_answer

from gateway.errors import Overloaded

_SECRET = "회계팀-비밀-marker"
Samples = dict[tuple[str, ...], float]


async def _scrape(service: Service) -> Samples:
    """Return what is told by name and labels, once it is no older than this call."""
    await asyncio.sleep(0.25)
    async with client_of(service, None) as http:
        answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _grown(before: Samples, after: Samples) -> Samples:
    return {name: value - before.get(name, 0) for name, value in after.items()}


async def _ask(http: httpx.AsyncClient, model: str, **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": _SECRET}], **more}
    return await http.post("/v1/chat/completions", json=body)


async def test_a_stream_is_counted_once_it_is_settled(service: Service, upstream: Upstream):
    upstream.stream(ROLE, HI, HI, STOP, DONE)
    before = await _scrape(service)
    async with client_of(service, service.key) as http:
        answer = await _ask(http, "fake/gpt-x", stream=True)
        assert answer.text.endswith("data: [DONE]\n\n")
    grown = _grown(before, await _scrape(service))

    assert grown["naru_requests_total", "kind=chat", "outcome=completed"] == 1
    assert grown["naru_target_requests_total", "outcome=answered", "target=fake/gpt-x"] == 1
    assert grown["naru_tokens_total", "target=fake/gpt-x", "type=output"] > 0
    assert grown["naru_time_to_first_token_seconds_count", "target=fake/gpt-x"] == 1
    route = "route=/v1/chat/completions"
    assert grown["naru_http_requests_total", "method=POST", route, "status=2xx"] == 1
    assert grown["naru_http_request_duration_seconds_count", route] == 1


async def test_a_passed_target_is_counted_with_its_reason(service: Service, upstream: Upstream):
    upstream.answer = lambda _: json_answer(COMPLETION)
    service.forget_retries()
    before = await _scrape(service)
    async with client_of(service, service.key) as http:
        assert (await _ask(http, "smart")).status_code == 200
    grown = _grown(before, await _scrape(service))

    passed = {name: n for name, n in grown.items() if name[0] == "naru_fallbacks_total" and n}
    assert set(passed.values()) == {1}
    assert {name[-1] for name in passed} == {"target=down/x"}
    assert grown["naru_target_requests_total", "outcome=failed", "target=down/x"] == 1
    assert grown["naru_target_requests_total", "outcome=answered", "target=fake/gpt-x"] == 1


async def test_a_target_that_rests_is_passed_and_was_not_asked(
    service: Service, upstream: Upstream
):
    upstream.answer = lambda _: json_answer(COMPLETION)
    service.forget_retries()
    breaker = service.breaker("down/x")
    assert breaker
    breaker.fail(Overloaded("wait", code=None, headers={"retry-after": "60"}))
    before = await _scrape(service)
    async with client_of(service, service.key) as http:
        answer = await _ask(http, "smart")
    assert answer.headers["x-naru-attempts"] == "1"
    grown = _grown(before, await _scrape(service))
    breaker.reset()

    assert grown["naru_fallbacks_total", "reason=target_rests", "target=down/x"] == 1
    asked = {name[1:]: n for name, n in grown.items() if name[0] == "naru_target_requests_total"}
    assert {labels for labels, n in asked.items() if n} == {
        ("outcome=answered", "target=fake/gpt-x")
    }


async def test_errors_are_counted_by_type_and_code(service: Service):
    before = await _scrape(service)
    async with client_of(service, service.key) as http:
        assert (await _ask(http, "nobody-knows")).status_code == 404
    async with client_of(service, None) as http:
        assert (await _ask(http, "default")).status_code == 401
    grown = _grown(before, await _scrape(service))

    kind = "type=invalid_request_error"
    assert grown["naru_errors_total", "code=model_not_found", kind] == 1
    assert sum(n for name, n in grown.items() if "type=authentication_error" in name) == 1


async def test_nothing_that_a_tenant_wrote_or_is_called_stands_there(service: Service):
    async with client_of(service, service.key) as http:
        await _ask(http, "hr")
        await _ask(http, f"fake/{_SECRET}")
        await _ask(http, _SECRET)
        await http.get(f"/{_SECRET}")
        await http.request(_SECRET.encode().hex(), "/v1/models")
        await http.get(f"/v1/sessions/{_SECRET}")
    await asyncio.sleep(0.25)
    async with client_of(service, None) as http:
        text = (await http.get("/metrics")).text

    for words in (_SECRET, _SECRET.encode().hex(), "acme", service.store, '"hr"', "colleague"):
        assert words not in text, words
    assert 'target="fake/*"' in text
    assert 'route="unmatched"' in text
