"""Limits as callers meet them: headers on every governed route, refusals, rules that change."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from gateway_support import Service, client_of
from oauth_support import eventually
from upstream_support import COMPLETION, DONE, HI, ROLE, STOP, Upstream, json_answer

import auth
from config.errors import ConfigError
from config.postgres import open_pool
from config.settings import AuthSettings
from gateway.commands.limits import list_limits, make_limit, remove_limit
from gateway.credentials import Credentials

ASKED = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
CHAT = ASKED | {"model": "fake/gpt-x"}
QUESTION = {"message": "병가는 며칠인가요?"}
ROUTES = {
    "/v1/chat/completions": CHAT,
    "/v1/agents/hr/chat": QUESTION,
    "/v1/agents/hr/chat/completions": {
        "model": "hr",
        "messages": [{"role": "user", "content": QUESTION["message"]}],
    },
    "/v1/responses": {"model": "fake/gpt-x", "input": "hi"},
    "/v1/embeddings": {"model": "all-MiniLM-L6-v2", "input": "hi"},
}


class Caller:
    """A client of its own, and an operator who says what it may take."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        operator: httpx.AsyncClient,
        client: str,
        upstream: Upstream,
    ) -> None:
        self.http = http
        self.upstream = upstream
        self._operator = operator
        self._client = client

    async def limit(self, **limits: int) -> str:
        body = {"tenant": "acme", "per": "client", "subject": self._client, **limits}
        made = await self._operator.post("/admin/limits", json=body)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    async def change(self, rule: str, **limits: int | None) -> None:
        changed = await self._operator.patch(f"/admin/limits/{rule}", json=limits)
        assert changed.status_code == 200, changed.text

    async def until_told(self, most: int | None) -> None:
        """Ask until an answer carries this limit of requests."""
        self.upstream.answer = lambda _: json_answer(COMPLETION)

        async def told() -> bool:
            answer = await self.http.post("/v1/chat/completions", json=CHAT)
            limit = answer.headers.get("x-ratelimit-limit-requests")
            return limit == (None if most is None else str(most))

        assert await eventually(told, within_s=10)


@pytest.fixture
async def limited(service: Service, data_dir: Path, upstream: Upstream) -> AsyncIterator[Caller]:
    box = auth.SecretBox.load(AuthSettings(), data_dir)
    async with await open_pool(service.database, size=1, role="naru_auth") as identity:
        made = await auth.create_client(identity, box, "acme", name="limited")
        key = await auth.create_key(identity, box, made.client_id)
        chief = await auth.create_client(
            identity, box, "acme", name="op", role="operator", scopes=("admin",)
        )
        chief_key = await auth.create_key(identity, box, chief.client_id)
    async with client_of(service, key.key) as http, client_of(service, chief_key.key) as operator:
        yield Caller(http, operator, made.client_id, upstream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ROUTES)
async def test_every_answer_says_how_the_caller_stands(
    limited: Caller, path: str, stream: bool
) -> None:
    if stream and path == "/v1/embeddings":
        return
    await limited.limit(requests_per_minute=1000, tokens_per_minute=1_000_000)
    await limited.until_told(1000)
    if stream:
        limited.upstream.stream(ROLE, HI, STOP, DONE)
    first, second = [
        await limited.http.post(path, json=ROUTES[path] | ({"stream": True} if stream else {}))
        for _ in range(2)
    ]
    for answer in (first, second):
        assert answer.status_code == 200, answer.text
        for what in ("requests", "tokens"):
            for name in ("limit", "remaining", "reset"):
                assert f"x-ratelimit-{name}-{what}" in answer.headers, (name, what)
    before, after = (
        int(answer.headers["x-ratelimit-remaining-requests"]) for answer in (first, second)
    )
    assert before - after == 1, "one request, however many parts it has"


async def test_a_refusal_is_openais(limited: Caller) -> None:
    rule = await limited.limit(requests_per_minute=1000)
    await limited.until_told(1000)
    await limited.change(rule, requests_per_minute=1)

    async def refused() -> bool:
        return (await limited.http.post("/v1/chat/completions", json=CHAT)).status_code == 429

    assert await eventually(refused, within_s=10)
    for path, body in ROUTES.items():
        answer = await limited.http.post(path, json=body)
        assert answer.status_code == 429, path
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] == "rate_limit_exceeded"
        assert "1 requests per minute of client" in error["message"]
        headers = answer.headers
        assert headers["x-naru-reason"] == "client_requests_per_minute"
        assert headers["x-should-retry"] == "true"
        assert 0 < int(headers["retry-after-ms"]) <= 60_500
        assert 0 < int(headers["retry-after"]) <= 61
        assert headers["x-ratelimit-remaining-requests"] == "0"
    await limited.change(rule, requests_per_minute=None)
    await limited.until_told(None)


async def test_a_place_is_free_when_a_stream_ends(limited: Caller) -> None:
    await limited.limit(concurrent_streams=1, requests_per_minute=1000)
    await limited.until_told(1000)
    limited.upstream.stream(ROLE, HI, STOP, DONE)
    for _ in range(3):
        answer = await limited.http.post("/v1/chat/completions", json=CHAT | {"stream": True})
        assert answer.status_code == 200, answer.text


async def test_what_can_never_be_had_is_told(limited: Caller) -> None:
    await limited.limit(requests_per_minute=1000, tokens_per_minute=100)
    await limited.until_told(1000)
    answer = await limited.http.post("/v1/chat/completions", json=CHAT | {"max_tokens": 500})
    assert answer.status_code == 429
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert "max_tokens" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"per": "client", "requests_per_minute": 0}, "requests_per_minute"),
        ({"per": "client", "tokens_per_day": 10**13}, "tokens_per_day"),
        ({"per": "model", "subject": "a b"}, "subject"),
        ({"per": "tenant", "subject": "other"}, "subject"),
        ({"per": "planet"}, "per"),
    ],
)
async def test_what_a_rule_cant_be_is_told(
    limited: Caller, body: dict[str, object], param: str
) -> None:
    answer = await limited._operator.post("/admin/limits", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


async def test_a_rule_is_there_once(limited: Caller) -> None:
    rule = await limited.limit(tokens_per_day=5)
    body = {"tenant": "acme", "per": "client", "subject": limited._client}
    again = await limited._operator.post("/admin/limits", json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (400, "limit_exists")
    nowhere = await limited._operator.post("/admin/limits", json=body | {"tenant": "nobody"})
    assert nowhere.status_code == 404
    mine = (await limited._operator.get(f"/admin/limits/{rule}")).json()
    assert (mine["tokens_per_day"], mine["requests_per_minute"]) == (5, None)


async def test_a_tenants_own_limits_are_the_operators(service: Service, data_dir: Path) -> None:
    box = auth.SecretBox.load(AuthSettings(), data_dir)
    async with await open_pool(service.database, size=1, role="naru_auth") as identity:
        admin = await auth.create_client(
            identity, box, "acme", name="a", role="admin", scopes=("admin",)
        )
        key = await auth.create_key(identity, box, admin.client_id)
    async with client_of(service, key.key) as http:
        refused = await http.post("/admin/limits", json={"per": "tenant", "tokens_per_day": 5})
        assert refused.status_code == 403
        elsewhere = await http.post("/admin/limits", json={"per": "key", "tenant": "rival"})
        assert elsewhere.status_code == 404
        made = await http.post("/admin/limits", json={"per": "key", "subject": key.key_id})
        assert (made.status_code, made.json()["tenant"]) == (201, "acme")
        assert (await http.delete(f"/admin/limits/{made.json()['id']}")).status_code == 200


@pytest.mark.parametrize("per", ["client", "key"])
async def test_who_is_not_there_has_no_rule(
    limited: Caller, service: Service, data_dir: Path, per: str
) -> None:
    box = auth.SecretBox.load(AuthSettings(), data_dir)
    async with await open_pool(service.database, size=1, role="naru_auth") as identity:
        other = await auth.create_client(identity, box, "rival", name="other")
        key = await auth.create_key(identity, box, other.client_id)
    foreign = {"client": other.client_id, "key": key.key_id}[per]
    for subject in ("nobody-of-that-id", foreign):
        answer = await limited._operator.post(
            "/admin/limits", json={"per": per, "subject": subject, "tenant": "acme"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    body = {"per": per, "subject": foreign, "tenant": "rival"}
    made = await limited._operator.post("/admin/limits", json=body)
    assert made.status_code == 201
    assert (await limited._operator.delete(f"/admin/limits/{made.json()['id']}")).status_code == 200


async def test_an_unknown_tenant_has_no_rules(limited: Caller) -> None:
    assert (await limited._operator.get("/admin/limits?tenant=rival")).status_code == 200
    assert (await limited._operator.get("/admin/limits?tenant=nobody")).status_code == 404


async def test_the_command_line_sets_lists_and_removes(limited: Caller) -> None:
    key = limited._operator.headers["authorization"].removeprefix("Bearer ")
    here = Credentials(url=str(limited._operator.base_url).rstrip("/"), api_key=key)
    rule = {"per": "model", "subject": "by-command", "tokens_per_day": 7, "tenant": "rival"}
    made = await make_limit(here, rule)
    line = f"{made}  rival  model  by-command  tokens_per_day=7"
    assert line in await list_limits(here, None)
    assert line in await list_limits(here, "rival")
    assert line not in await list_limits(here, "acme")
    await remove_limit(here, made)
    assert line not in await list_limits(here, None)
    with pytest.raises(ConfigError, match="no limit"):
        await remove_limit(here, made)
