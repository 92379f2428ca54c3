"""`/admin/budgets`, and what a budget does to who has one, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from gateway_support import Service, client_of, replica_of
from support import scope_of
from upstream_support import DONE, Upstream, json_answer

import auth
from auth.profile import default_scopes
from config.postgres import open_pool
from config.settings import AuthSettings
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition

CALLERS = {
    "operator": ("acme", "operator"),
    "admin": ("acme", "admin"),
    "viewer": ("acme", "viewer"),
    "stranger": ("rival", "admin"),
    "spender": ("acme", "editor"),
}
ASKED = {"model": "paid/x", "messages": [{"role": "user", "content": "hi"}]}
PRICES = {"paid/x": {"input": 1, "output": 10}, "paid/gift": {"free": True}}


@pytest.fixture(scope="module")
async def callers(
    service: Service,
    sockets: Path,
    data_dir: Path,
    redis_url: str,
    upstream: Upstream,
) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """Callers of every role, at a replica with a priced provider; the spender is a client."""
    settings = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "providers": {"paid": {"base_url": upstream.url}},
        "prices": PRICES,
        "models": {"cheaper": ["paid/x", "paid/gift"], "frugal": ["paid/x", "extractive"]},
    }
    made: dict[str, httpx.AsyncClient] = {}
    async with AsyncExitStack() as stack:
        pool = await open_pool(service.database, size=1, role="naru_auth")
        identity = await stack.enter_async_context(pool)
        box = auth.SecretBox.load(AuthSettings(), data_dir)
        replica = await stack.enter_async_context(replica_of(service, sockets, settings))
        for name, (tenant, role) in CALLERS.items():
            scopes = default_scopes(role) | {"admin"}  # type: ignore[arg-type]
            client = await auth.create_client(
                identity, box, tenant, name=name, client_id=f"b-{name}", role=role, scopes=scopes
            )
            key = await auth.create_key(identity, box, client.client_id)
            made[name] = await stack.enter_async_context(client_of(replica, key.key))
        yield made


async def make(caller: httpx.AsyncClient, amount: str, **subject: str) -> dict[str, Any]:
    body = {"amount_usd": amount, "period": "day", "client": "b-spender", **subject}
    answer = await caller.post("/admin/budgets", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.fixture
async def clean(callers: dict[str, httpx.AsyncClient]) -> AsyncIterator[None]:
    yield
    for tenant in ("acme", "rival"):
        found = await callers["operator"].get("/admin/budgets", params={"tenant": tenant})
        for budget in found.json()["data"]:
            await callers["operator"].delete(f"/admin/budgets/{budget['id']}")


pytestmark = pytest.mark.usefixtures("clean")


def answers(upstream: Upstream, asked: int, said: int) -> None:
    usage = b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}' % (
        *(asked, said, asked + said),
    )
    body = (
        b'{"id":"c","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":%s}'
        % usage
    )
    upstream.answer = lambda _: json_answer(body)


async def spent(caller: httpx.AsyncClient, budget: str, usd: str) -> dict[str, Any]:
    """The budget, once so much is booked as spent."""
    async with asyncio.timeout(30):
        while True:
            state = (await caller.get(f"/admin/budgets/{budget}")).json()
            if state["spent_usd"] == usd:
                return dict(state)
            await asyncio.sleep(0.05)


async def test_an_admin_makes_changes_and_lifts_a_budget(
    callers: dict[str, httpx.AsyncClient],
) -> None:
    admin = callers["admin"]
    made = await make(admin, "12.50")
    assert (made["tenant"], made["client"], made["end_user"]) == ("acme", "b-spender", None)
    assert (made["amount_usd"], made["spent_usd"], made["left_usd"]) == ("12.5", "0", "12.5")
    path = f"/admin/budgets/{made['id']}"
    assert (await callers["viewer"].get(path)).json() == made
    changed = await admin.patch(path, json={"amount_usd": "0.000000001"})
    assert changed.json()["amount_usd"] == "0.000000001"
    listed = (await admin.get("/admin/budgets")).json()["data"]
    assert [budget["id"] for budget in listed] == [made["id"]]
    assert (await admin.delete(path)).json()["deleted"] is True
    assert (await admin.get(path)).status_code == 404


async def test_who_may_not_is_told_so(callers: dict[str, httpx.AsyncClient]) -> None:
    made = await make(callers["admin"], "1")
    path = f"/admin/budgets/{made['id']}"
    change = {"amount_usd": "2"}
    for caller, status in (("viewer", 403), ("stranger", 404), ("operator", 200)):
        answer = await callers[caller].patch(path, json=change)
        assert answer.status_code == status, answer.text
    assert (await callers["viewer"].delete(path)).status_code == 403
    assert (await callers["stranger"].get(path)).status_code == 404
    assert (await callers["stranger"].delete(path)).status_code == 404
    assert (await callers["stranger"].get("/admin/budgets")).json()["data"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"amount_usd": "1", "period": "day", "tenant": "rival"}, 404),
        ({"amount_usd": "1", "period": "day", "client": "stranger"}, 404),
        ({"amount_usd": "1", "period": "day", "client": "nobody"}, 404),
        ({"amount_usd": "1", "period": "day", "end_user": "ann"}, 400),
        ({"amount_usd": "1", "period": "day", "client": "*", "end_user": "홍길동"}, 400),
        ({"amount_usd": "1", "period": "week"}, 400),
        ({"amount_usd": 1, "period": "day"}, 400),
        ({"amount_usd": "-1", "period": "day"}, 400),
        ({"amount_usd": "1\n", "period": "day"}, 400),
        ({"amount_usd": "1", "period": "day", "client": "*", "end_user": "ann\n"}, 400),
        ({"amount_usd": "1.0000000001", "period": "day"}, 400),
        ({"period": "day"}, 400),
    ],
)
async def test_what_can_t_be_a_budget_is_refused(
    callers: dict[str, httpx.AsyncClient], body: dict[str, Any], status: int
) -> None:
    answer = await callers["admin"].post("/admin/budgets", json=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_period_that_is_none_is_told_those_that_are(
    callers: dict[str, httpx.AsyncClient],
) -> None:
    body = {"amount_usd": "1", "period": "week"}
    answer = await callers["admin"].post("/admin/budgets", json=body)
    told = answer.json()["error"]["message"]
    assert told == "period: Invalid enum value 'week'; it is one of day, month"


async def test_an_amount_that_is_none_is_explained(callers: dict[str, httpx.AsyncClient]) -> None:
    for wrong in ("abc", "1.", "1e3", "", "9" * 10):
        answer = await callers["admin"].post(
            "/admin/budgets", json={"amount_usd": wrong, "period": "day"}
        )
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "amount_usd")
        assert error["message"] == "amount_usd: give a decimal number of dollars, such as 12.50"


async def test_an_unknown_tenant_has_no_budgets(callers: dict[str, httpx.AsyncClient]) -> None:
    path = "/admin/budgets?tenant=nobody"
    assert (await callers["operator"].get(path)).status_code == 404
    assert (await callers["admin"].get("/admin/budgets?tenant=rival")).status_code == 404


async def test_a_second_budget_of_the_same_is_refused(
    callers: dict[str, httpx.AsyncClient],
) -> None:
    await make(callers["admin"], "1")
    body = {"amount_usd": "1", "period": "day", "client": "b-spender"}
    answer = await callers["admin"].post("/admin/budgets", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "budget_exists")
    await make(callers["admin"], "1", end_user="*")


async def test_an_answer_is_booked_exactly_and_once(
    callers: dict[str, httpx.AsyncClient], upstream: Upstream
) -> None:
    budget = await make(callers["admin"], "1")
    answers(upstream, 7, 30)
    for _ in range(3):
        answer = await callers["spender"].post("/v1/chat/completions", json=ASKED)
        assert answer.status_code == 200, answer.text
    state = await spent(callers["viewer"], budget["id"], "0.000921")
    assert state["unaccounted_usd"] == "0"


async def test_a_used_up_budget_is_429_and_a_free_model_goes_on(
    callers: dict[str, httpx.AsyncClient], upstream: Upstream
) -> None:
    spender = callers["spender"]
    await make(callers["admin"], "0.000000001")
    answers(upstream, 1, 1)
    refused = await spender.post("/v1/chat/completions", json=ASKED)
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "budget_exhausted")
    assert "begins anew at" in error["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert int(refused.headers["retry-after"]) > 0
    served = await spender.post("/v1/chat/completions", json=ASKED | {"model": "cheaper"})
    assert served.headers["x-naru-target"] == "paid/gift"
    assert served.headers["x-naru-fallback-reason"] == "paid/x: budget_exhausted"
    unpriced = await spender.post("/v1/chat/completions", json=ASKED | {"model": "paid/other"})
    assert (unpriced.status_code, unpriced.json()["error"]["code"]) == (400, "model_unpriced")
    assert (await callers["admin"].post("/v1/chat/completions", json=ASKED)).status_code == 200


@pytest.fixture
async def agents(service: Service) -> dict[str, str]:
    """Agents that answer with a priced model: alone, and with quotes behind it."""
    models = {"b-paid": "paid/x", "b-quoting": "frugal"}
    async with await open_pool(service.database, size=1) as pool:
        for name, model in models.items():
            definition = AgentDefinition(name, "Be brief.", model, (service.store,))
            await save_agent(pool, scope_of("acme", "app"), definition)
    return models


def turn(agent: str, *, stream: bool) -> dict[str, Any]:
    """A follow-up, which is made whole before it is answered."""
    said = [("user", "연차 휴가는 며칠인가요?"), ("assistant", "15일이다."), ("user", "병가는요?")]
    messages = [{"role": role, "content": content} for role, content in said]
    return {"model": agent, "messages": messages, "max_tokens": 50, "stream": stream}


@pytest.mark.usefixtures("agents")
async def test_a_turn_is_booked_as_the_sum_of_its_calls(
    callers: dict[str, httpx.AsyncClient], upstream: Upstream
) -> None:
    budget = await make(callers["admin"], "1")
    answers(upstream, 7, 30)
    upstream.asked.clear()
    asked = turn("b-paid", stream=False)
    answer = await callers["spender"].post("/v1/chat/completions", json=asked)
    assert answer.status_code == 200, answer.text
    assert len(upstream.asked) == 2
    state = await spent(callers["viewer"], budget["id"], "0.000614")
    assert state["unaccounted_usd"] == "0"


@pytest.mark.usefixtures("agents")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_that_nobody_pays_for_is_429_or_quoted(
    callers: dict[str, httpx.AsyncClient], upstream: Upstream, stream: bool
) -> None:
    spender = callers["spender"]
    budget = await make(callers["admin"], "0.000000001")
    upstream.asked.clear()
    refused = await spender.post("/v1/chat/completions", json=turn("b-paid", stream=stream))
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exhausted")
    asked = turn("b-quoting", stream=stream)
    quoted = await spender.post("/v1/chat/completions", json=asked)
    assert quoted.status_code == 200, quoted.text
    assert quoted.headers["x-naru-target"] == "extractive"
    assert quoted.headers["x-naru-fallback-reason"] == "paid/x: budget_exhausted"
    assert not upstream.asked
    state = (await callers["viewer"].get(f"/admin/budgets/{budget['id']}")).json()
    assert (state["spent_usd"], state["unaccounted_usd"]) == ("0", "0")


async def test_a_stream_that_ignores_its_limit_ends_with_an_error_in_band(
    callers: dict[str, httpx.AsyncClient], upstream: Upstream
) -> None:
    budget = await make(callers["admin"], "0.001")

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
            await asyncio.sleep(0)

    upstream.answer = endless
    asked = ASKED | {"stream": True, "max_tokens": 10}
    answer = await callers["spender"].post("/v1/chat/completions", json=asked)
    assert upstream.asked[-1]["max_tokens"] == 10
    *_, last, end = answer.text.split("\n\n")
    assert end == ""
    assert '"code":"budget_exhausted"' in last
    assert DONE.decode().strip() not in answer.text
    async with asyncio.timeout(30):
        while (state := (await callers["admin"].get(f"/admin/budgets/{budget['id']}")).json())[
            "spent_usd"
        ] == "0":
            await asyncio.sleep(0.05)
    assert float(state["spent_usd"]) < 0.001


async def test_three_gateways_use_up_a_budget_and_no_more(
    callers: dict[str, httpx.AsyncClient],
    service: Service,
    sockets: Path,
    data_dir: Path,
    redis_url: str,
    upstream: Upstream,
) -> None:
    """In one process; `tests/e2e` has the real ones."""
    await make(callers["admin"], "0.005")
    cost = 0

    async def says_all(_: web.Request) -> web.StreamResponse:
        nonlocal cost
        said = min(int(str(upstream.asked[-1]["max_tokens"])), 40)
        cost += 7 * 1000 + said * 10_000
        usage = b'{"prompt_tokens":7,"completion_tokens":%d,"total_tokens":%d}' % (said, said + 7)
        return await json_answer(
            b'{"id":"c","choices":[{"message":{"content":"hi"},"finish_reason":"length"}],'
            b'"usage":%s}' % usage
        )

    upstream.answer = says_all
    settings = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "providers": {"paid": {"base_url": upstream.url}},
        "prices": PRICES,
    }
    spender = callers["spender"]
    headers = {"authorization": spender.headers["authorization"]}

    async def hammer(client: httpx.AsyncClient) -> None:
        refused = 0
        while refused < 3:
            answer = await client.post(
                "/v1/chat/completions", json=ASKED | {"max_tokens": 40}, headers=headers
            )
            final = answer.headers.get("x-should-retry") == "false"
            refused += answer.status_code == 429 and final
            if answer.status_code == 429 and not final:
                await asyncio.sleep(0.1)

    async with (
        replica_of(service, sockets, settings) as second,
        replica_of(service, sockets, settings) as third,
        client_of(second, None) as other,
        client_of(third, None) as another,
        asyncio.timeout(60),
    ):
        clients = (spender, other, another)
        await asyncio.gather(*(hammer(client) for client in clients for _ in range(2)))
    amount = 5_000_000
    assert 0.95 * amount <= cost <= amount
