"""A turn of an agent over HTTP: one request at the limits, one usage record, by whichever way."""

import json
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from aiohttp import web
from gateway_support import Service, client_of
from oauth_support import eventually
from support import scope_of
from turns_support import play_slowly
from upstream_support import Upstream, json_answer

import auth
from config.postgres import open_pool
from config.settings import AuthSettings
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition
from gateway.govern.limits import Limiter
from gateway.govern.limits_steps import Held

ASKED = "병가는 며칠인가요?"
FIRST = "연차 휴가는 며칠인가요?"
FOLLOW_UP = "그럼 3년 차는요?"
WHOLE = "3년 차의 연차 휴가는 며칠인가요?"
NOWHERE = "프랑스의 수도는 어디인가요?"
CITED = "3년 차부터는 연차 휴가가 16일로 늘어난다. [1]"
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 2},
}
WAYS = ("native", "completions", "model", "responses", "pais")
MOST = 10**9


def request_of(
    way: str, agent: str, text: str, before: list[str] | None = None
) -> tuple[str, dict[str, Any]]:
    """The path and the body of a question, behind what was said before by turns."""
    said = [
        {"role": ("user", "assistant")[place % 2], "content": each}
        for place, each in enumerate([*(before or []), text])
    ]
    pais = f"/api/v1/compatibility/openai/v1/agents/{agent}/chat/completions"
    return {
        "native": (f"/v1/agents/{agent}/chat", {"message": text}),
        "completions": (f"/v1/agents/{agent}/chat/completions", {"model": agent, "messages": said}),
        "model": ("/v1/chat/completions", {"model": agent, "messages": said}),
        "responses": ("/v1/responses", {"model": agent, "input": said, "store": False}),
        "pais": (pais, {"messages": said}),
    }[way]


def told_usage(answer: httpx.Response) -> tuple[int, int]:
    """The tokens in and out that an answer tells, or a stream at its end."""
    asked = re.findall(r'"(?:prompt|input)_tokens":(\d+)', answer.text)
    said = re.findall(r'"(?:completion|output)_tokens":(\d+)', answer.text)
    return int(asked[-1]), int(said[-1])


def streamed(way: str) -> dict[str, Any]:
    """The fields that ask for a stream which tells its usage."""
    fields: dict[str, Any] = {"stream": True}
    by_chunks = way in ("completions", "model", "pais")
    return fields | ({"stream_options": {"include_usage": True}} if by_chunks else {})


def plays_well(upstream: Upstream) -> None:
    """Let the model make a question whole and answer it, and tell what it took."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body: Any = upstream.asked[-1]
        rewriting = body["messages"][0]["content"].startswith("You get a conversation")
        text = WHOLE if rewriting else CITED
        if not body.get("stream"):
            choice = {"message": {"content": text}, "finish_reason": "stop"}
            return await json_answer(json.dumps({"choices": [choice], "usage": USAGE}).encode())
        chunks = [
            {"choices": [{"delta": {"content": text}}]},
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": USAGE},
        ]
        told = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        return web.Response(text=f"{told}data: [DONE]\n\n", content_type="text/event-stream")

    upstream.answer = answer


class Asker:
    """A client of its own, whose limits count it and never refuse it, unless that is asked for."""

    def __init__(self, service: Service, http: httpx.AsyncClient, client: str) -> None:
        self.http = http
        self.client = client
        self._service = service
        self._names: list[str] = []

    @property
    def _limiter(self) -> Limiter:
        limiter = self._service.app.state.services.governor._limiter
        assert isinstance(limiter, Limiter)
        return limiter

    async def ask(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        name = uuid.uuid4().hex
        self._names.append(name)
        return await self.http.post(path, json=body, headers={"x-request-id": name, **headers})

    async def records(self) -> list[dict[str, Any]]:
        """The records of what was asked, when all of them are stored."""
        governor = self._service.app.state.services.governor
        assert await eventually(lambda: _is(not governor._ledger._open), within_s=30)
        # Records are stored in the order of their ends: behind this one there is none of before.
        fence = uuid.uuid4().hex
        body = {"model": "all-MiniLM-L6-v2", "input": "fence"}
        async with client_of(self._service, self._service.key) as other:
            await other.post("/v1/embeddings", json=body, headers={"x-request-id": fence})
        con = await asyncpg.connect(self._service.database)
        try:
            while not await con.fetch("SELECT FROM usage_records WHERE request_id = $1", fence):
                await con.fetch("SELECT pg_sleep(0.05)")
            rows = await con.fetch(
                "SELECT * FROM usage_records WHERE client = $1 ORDER BY at", self.client
            )
        finally:
            await con.close()
        return [dict(row) for row in rows]

    async def taken(self, tokens: int, requests: int) -> bool:
        """Tell whether the limits come to count so much, and hold nothing."""
        scope = scope_of("acme", self.client)
        free = [(limit, 0) for limit in self._limiter.rules.of(scope, "x")]
        names = [limit.measure for limit, _ in free]

        async def counted() -> bool:
            outcome = await self._limiter._counters.reserve("probe", free)
            self._limiter._counters.settle(Held("probe", free, [0] * len(free)), 0)
            if outcome is None:
                return False
            left = dict(zip(names, (each.remaining for each in outcome.standings), strict=True))
            return left == {
                "tokens_per_day": MOST - tokens,
                "requests_per_minute": MOST - requests,
                "concurrent_requests": MOST,
                "concurrent_streams": MOST,
            }

        return await eventually(counted, within_s=30)


async def _is(truth: bool) -> bool:
    return truth


@pytest.fixture
async def operator(service: Service, data_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
    box = auth.SecretBox.load(AuthSettings(), data_dir)
    async with await open_pool(service.database, size=1, role="naru_auth") as identity:
        chief = await auth.create_client(
            identity, box, "acme", name="op", role="operator", scopes=("admin",)
        )
        key = await auth.create_key(identity, box, chief.client_id)
    async with client_of(service, key.key) as http:
        yield http


@pytest.fixture
async def asker(
    service: Service, data_dir: Path, operator: httpx.AsyncClient
) -> AsyncIterator[Asker]:
    box = auth.SecretBox.load(AuthSettings(), data_dir)
    service.forget_retries()
    async with await open_pool(service.database, size=1, role="naru_auth") as identity:
        made = await auth.create_client(identity, box, "acme", name="asker")
        key = await auth.create_key(identity, box, made.client_id)
    rule = {
        "per": "client",
        "subject": made.client_id,
        "tokens_per_day": MOST,
        "requests_per_minute": MOST,
        "concurrent_requests": MOST,
        "concurrent_streams": MOST,
    }
    answer = await operator.post("/admin/limits", json={"tenant": "acme", **rule})
    assert answer.status_code == 201, answer.text
    rules = service.app.state.services.governor._limiter
    scope = scope_of("acme", made.client_id)
    assert await eventually(lambda: _is(bool(rules.rules.of(scope, "x"))), within_s=30)
    async with client_of(service, key.key) as http:
        yield Asker(service, http, made.client_id)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_a_turn_that_asks_its_model_twice_is_one_request(
    asker: Asker, upstream: Upstream, way: str, stream: bool
) -> None:
    plays_well(upstream)
    count = 1
    path, body = request_of(way, "clever", FOLLOW_UP, [FIRST, CITED])
    if way == "native":
        session = {"session_id": uuid.uuid4().hex}
        await asker.ask(path, {"message": FIRST, **session})
        body, count = body | session, 2
    answer = await asker.ask(path, body | (streamed(way) if stream else {}))
    assert answer.status_code == 200, answer.text
    assert "16일" in answer.text
    assert told_usage(answer) == (18, 8)
    left = answer.headers["x-ratelimit-remaining-requests"]
    assert left == str(MOST - count), "the headers count it once"
    *_, row = rows = await asker.records()
    assert len(rows) == count
    assert (row["kind"], row["model"], row["target"]) == ("agent", "clever", "fake/gpt-x")
    assert (row["agent_version"], row["stream"], row["ending"]) == (1, stream, "completed")
    tokens = row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"]
    assert (*tokens, row["estimated"]) == (18, 8, 4, False)
    answered = [each["target"] for each in json.loads(row["attempts"]) if each["prompt_tokens"]]
    assert answered == ["fake/gpt-x", "fake/gpt-x"]
    assert (row["first_token_ms"] is not None) == stream
    assert row["duration_ms"] > 0
    assert await asker.taken(13 * (2 if count == 1 else 3), count)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_what_a_turn_tells_is_what_is_accounted(
    service: Service, asker: Asker, upstream: Upstream, way: str, stream: bool
) -> None:
    plays_well(upstream)
    agent = f"a-{uuid.uuid4().hex}"
    async with await open_pool(service.database, size=1) as pool:
        definition = AgentDefinition(agent, agent, "remembers", (service.store,))
        await save_agent(pool, scope_of("acme", "app"), definition)
    more = streamed(way) if stream else {}
    told = []
    # Quoted; abstained with nobody asked; answered; told again by the response cache.
    for name, text in (("hr", ASKED), ("hr", NOWHERE), (agent, ASKED), (agent, ASKED)):
        path, body = request_of(way, name, text)
        told.append(told_usage(await asker.ask(path, body | more)))
    rows = await asker.records()
    assert told == [(row["prompt_tokens"], row["completion_tokens"]) for row in rows]
    assert told[1:] == [(0, 0), (9, 4), (0, 0)]
    assert min(told[0]) > 0


@pytest.mark.parametrize("way", ["completions", "model", "responses", "pais"])
async def test_user_names_whom_a_turn_is_counted_for(asker: Asker, way: str) -> None:
    path, body = request_of(way, "hr", NOWHERE)
    answer = await asker.ask(path, body | {"user": "kim"})
    assert answer.status_code == 200, answer.text
    (row,) = await asker.records()
    assert row["end_user"] == "kim"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_every_ending_is_one_record(
    asker: Asker, upstream: Upstream, way: str, stream: bool
) -> None:
    upstream.answer = lambda _: json_answer(b"{}", status=418)
    # Abstained, quoted, and failed.
    for agent, text in (("hr", NOWHERE), ("hr", ASKED), ("unlucky", ASKED)):
        path, body = request_of(way, agent, text)
        await asker.ask(path, body | {"stream": stream})
    rows = await asker.records()
    told = [(row["kind"], row["model"], row["target"], row["ending"]) for row in rows]
    assert told[:2] == [
        ("agent", "hr", "", "abstained"),
        ("agent", "hr", "extractive", "completed"),
    ]
    assert told[2][:2] == ("agent", "unlucky")
    assert told[2][3] in ("upstream_unreachable", "target_rests")
    assert len(rows) == 3
    assert rows[0]["prompt_tokens"] == 0
    tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)
    assert await asker.taken(tokens, 3)


@pytest.mark.parametrize("model", ["all-MiniLM-L6-v2", "fake/gpt-x"])
async def test_embeddings_are_one_record(asker: Asker, upstream: Upstream, model: str) -> None:
    body = {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 4}}
    upstream.answer = lambda _: json_answer(json.dumps(body).encode())
    answer = await asker.ask("/v1/embeddings", {"model": model, "input": "hello"})
    assert answer.status_code == 200, answer.text
    (row,) = await asker.records()
    told = row["kind"], row["model"], row["target"], row["ending"]
    assert told == ("embeddings", model, model, "completed")
    assert await asker.taken(row["prompt_tokens"], 1)


@pytest.mark.parametrize("way", WAYS)
async def test_who_leaves_is_on_record(asker: Asker, upstream: Upstream, way: str) -> None:
    model = play_slowly(upstream)
    model.say(1)
    path, body = request_of(way, "clever", ASKED)
    async with asker.http.stream("POST", path, json=body | {"stream": True}) as answer:
        async for line in answer.aiter_lines():
            if "하나" in line:
                break
    (row,) = await asker.records()
    assert (row["kind"], row["ending"], row["target"]) == ("agent", "client_gone", "fake/gpt-x")
    assert row["completion_tokens"] > 0
    assert await asker.taken(row["prompt_tokens"] + row["completion_tokens"], 1)


@pytest.mark.parametrize("status", ["completed", "cancelled"])
async def test_a_response_of_the_background_is_one_request(
    asker: Asker, upstream: Upstream, status: str
) -> None:
    plays_well(upstream)
    model = play_slowly(upstream) if status == "cancelled" else None
    path, body = request_of("responses", "clever", ASKED)
    made = (await asker.ask(path, body | {"background": True, "store": True})).json()
    if model:
        await model.started(1)
        await asker.http.post(f"{path}/{made['id']}/cancel")

    async def ended() -> bool:
        told = (await asker.http.get(f"{path}/{made['id']}")).json()["status"]
        rows = await asker.records()
        return bool(told == status and rows)

    assert await eventually(ended, within_s=30)
    (row,) = await asker.records()
    assert (row["kind"], row["request_id"], row["ending"]) == ("agent", made["id"], status)
    assert await asker.taken(row["prompt_tokens"] + row["completion_tokens"], 1)


async def test_a_key_sent_again_takes_nothing(asker: Asker, upstream: Upstream) -> None:
    plays_well(upstream)
    for number, way in enumerate(("native", "completions", "model", "pais"), start=1):
        path, body = request_of(way, "clever", ASKED)
        key = {"idempotency-key": uuid.uuid4().hex}
        first, second = [await asker.ask(path, body, **key) for _ in range(2)]
        assert first.text == second.text
        assert "idempotent-replayed" in second.headers
        assert "x-ratelimit-remaining-requests" in first.headers
        assert len(await asker.records()) == number
    assert await asker.taken(4 * 13, 4)


async def test_a_resumable_stream_that_goes_on_alone_is_one_request(
    asker: Asker, upstream: Upstream
) -> None:
    model = play_slowly(upstream)
    model.say(1)
    path, body = request_of("native", "clever", ASKED)
    body |= {"stream": True, "resumable": True}
    async with asker.http.stream("POST", path, json=body) as answer:
        async for line in answer.aiter_lines():
            if "하나" in line:
                break
    model.say(10)
    (row,) = await asker.records()
    assert row["ending"] == "abstained", "it came to its end, and cites nothing"
    assert await asker.taken(row["prompt_tokens"] + row["completion_tokens"], 1)


@pytest.mark.parametrize("per", ["agent", "alias"])
async def test_a_rule_may_name_the_agent_and_holds_for_its_model(
    service: Service, asker: Asker, operator: httpx.AsyncClient, per: str
) -> None:
    alias, agent = f"fake/{uuid.uuid4().hex}", f"a-{uuid.uuid4().hex}"
    async with await open_pool(service.database, size=1) as pool:
        definition = AgentDefinition(agent, "", alias, (service.store,))
        await save_agent(pool, scope_of("acme", "app"), definition)
    subject = agent if per == "agent" else alias
    rule = {"tenant": "acme", "per": "model", "subject": subject, "requests_per_minute": 1}
    made = await operator.post("/admin/limits", json=rule)
    limiter = service.app.state.services.governor._limiter
    scope = scope_of("acme", "other")
    assert await eventually(lambda: _is(bool(limiter.rules.of(scope, subject))), within_s=30)
    answers = []
    for way in WAYS:
        path, body = request_of(way, agent, NOWHERE)
        answers.append(await asker.ask(path, body))
    assert [answer.status_code for answer in answers] == [200, 429, 429, 429, 429]
    for answer in answers[1:]:
        assert f"of model `{subject}`" in answer.json()["error"]["message"]
        assert answer.headers["x-naru-reason"] == "model_requests_per_minute"
        assert int(answer.headers["retry-after"]) > 0
    endings = [row["ending"] for row in await asker.records()]
    assert endings == ["abstained", *["rate_limit_exceeded"] * 4]
    assert await asker.taken(0, 1)
    await operator.delete(f"/admin/limits/{made.json()['id']}")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_that_is_shortened_is_one_request(
    asker: Asker, upstream: Upstream, stream: bool
) -> None:
    plays_well(upstream)
    says = upstream.answer

    async def answer(request: web.Request) -> web.StreamResponse:
        body: Any = upstream.asked[-1]
        if len(body["messages"]) > 2:
            error = {"message": "too long", "code": "context_length_exceeded"}
            return await json_answer(json.dumps({"error": error}).encode(), 400)
        return await says(request)

    upstream.answer = answer
    _, body = request_of("responses", "fake/gpt-x", "last", [f"{n}" for n in range(8)])
    body |= {"truncation": "auto", "stream": stream}
    answered = await asker.ask("/v1/responses", body)
    assert answered.status_code == 200, answered.text
    (row,) = await asker.records()
    assert (row["kind"], row["model"], row["ending"]) == ("responses", "fake/gpt-x", "completed")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (9, 4)
    assert len(json.loads(row["attempts"])) > 1
    assert await asker.taken(13, 1)
