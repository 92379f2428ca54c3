"""`/v1/agents` over HTTP: made, changed, rolled back, aliased, and asked by any of their names."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway_support import Service, client_of
from support import scope_of

from config.postgres import open_pool
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition

QUESTION = {"message": "병가는 며칠인가요?"}
SAID = [{"role": "user", "content": "병가는 며칠인가요?"}]
INSTRUCTIONS = "Be brief with {{team}}."
VARIABLES = {"team": {"type": "string", "default": "everybody"}}


@pytest.fixture
async def name(http: httpx.AsyncClient, service: Service) -> AsyncIterator[str]:
    """An agent in two versions: the second looks for fewer passages."""
    made = f"made-{uuid.uuid4().hex[:8]}"
    body = {"name": made, "instructions": INSTRUCTIONS, "model": "default", "variables": VARIABLES}
    answer = await http.post("/v1/agents", json=body | {"vector_stores": [service.store]})
    assert answer.status_code == 201, answer.text
    assert answer.headers["etag"] == '"1"'
    assert (await http.patch(f"/v1/agents/{made}", json={"top_k": 3})).headers["etag"] == '"2"'
    yield made
    await http.delete(f"/v1/agents/{made}")


async def refused(answer: httpx.Response, status: int, param: str | None) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    return str(error["message"])


async def test_what_is_shown(http: httpx.AsyncClient, service: Service, name: str) -> None:
    shown = (await http.get(f"/v1/agents/{name}")).json()
    assert shown.pop("created") > 0
    assert shown.pop("version_created") > 0
    assert shown == {
        "object": "agent",
        "name": name,
        "description": "",
        "instructions": INSTRUCTIONS,
        "model": "default",
        "vector_stores": [service.store],
        "top_k": 3,
        "residency": "any",
        "retrieval": {"score_threshold": 0.0, "dense_weight": None, "rerank": True},
        "history": {"messages": None, "tokens": None, "summarize": False},
        "answer": {"without_sources": "abstain", "threshold": None},
        "variables": {
            "team": {
                "type": "string",
                "description": "",
                "max_length": 200,
                "choices": [],
                "default": "everybody",
            }
        },
        "version": 2,
        "created_by": "app",
        "source": "api",
    }
    # What is shown can be sent back.
    again = {key: shown[key] for key in shown if key not in READ_ONLY}
    assert (await http.patch(f"/v1/agents/{name}", json=again)).json()["version"] == 2


READ_ONLY = {"object", "version", "created_by", "source"}


async def test_versions(http: httpx.AsyncClient, name: str) -> None:
    for k in (4, 5):
        await http.patch(f"/v1/agents/{name}", json={"top_k": k})
    pages = []
    before = 2**31 - 1
    while True:
        params = {"limit": 3, "before": before}
        page = (await http.get(f"/v1/agents/{name}/versions", params=params)).json()
        pages.append([each["version"] for each in page["data"]])
        if not page["has_more"]:
            break
        before = pages[-1][-1]
    assert pages == [[4, 3, 2], [1]]
    first = (await http.get(f"/v1/agents/{name}/versions/1")).json()
    assert (first["version"], first["top_k"]) == (1, 5)
    assert first == (await http.get(f"/v1/agents/{name}@1")).json()
    for wrong in ("5", "prod", "01", "x" * 300, "1%00"):
        answer = await http.get(f"/v1/agents/{name}/versions/{wrong}")
        assert answer.status_code == 404, wrong


async def test_preconditions(http: httpx.AsyncClient, name: str) -> None:
    path = f"/v1/agents/{name}"
    stale = {"if-match": '"1"'}
    for answer in (
        await http.patch(path, json={"top_k": 9}, headers=stale),
        await http.post(f"{path}/rollback", json={}, headers=stale),
        await http.delete(path, headers=stale),
    ):
        assert "at version 2" in await refused(answer, 412, "if-match")
    changed = await http.patch(path, json={"top_k": 9}, headers={"if-match": '"2"'})
    assert changed.json()["version"] == 3
    back = await http.post(f"{path}/rollback", json={"version": 1}, headers={"if-match": '"3"'})
    assert (back.json()["version"], back.headers["etag"]) == (1, '"1"')


@pytest.mark.parametrize(
    ("body", "param", "reason"),
    [
        ({"colour": "red"}, "colour", "colour"),
        ({"name": "Hr"}, "name", "regex"),
        ({"name": "a\n"}, "name", "regex"),
        ({"top_k": 51}, "top_k", "50"),
        ({"vector_stores": ["vs_none"]}, "vector_stores[0]", "`vs_none`"),
        ({"model": "gpt-none"}, "model", "`gpt-none`"),
        ({"model": "hr"}, "model", "`hr`"),
        ({"answer": {"threshold": 1.5}}, "answer.threshold", "1.0"),
        ({"answer": {"mode": "x"}}, "answer.mode", "mode"),
        ({"history": {"messages": -1}}, "history.messages", ">= 0"),
        ({"retrieval": {"dense_weight": "much"}}, "retrieval.dense_weight", "float"),
        ({"instructions": "{{teem}}"}, "instructions", "teem"),
        ({"variables": {"x": {"type": "jinja"}}}, "variables[...].type", "jinja"),
        ({"residency": "mars"}, "residency", "mars"),
    ],
)
async def test_what_is_no_agent_is_named(
    http: httpx.AsyncClient, name: str, body: dict[str, Any], param: str | None, reason: str
) -> None:
    whole = {"name": f"{name}-x", "instructions": "", "model": "default", "vector_stores": []}
    for answer in (
        await http.post("/v1/agents", json=whole | body),
        await http.patch(f"/v1/agents/{name}", json=body),
    ):
        assert reason in await refused(answer, 400, param)


async def test_a_second_one_of_a_name_is_a_conflict(http: httpx.AsyncClient, name: str) -> None:
    body = {"name": name, "instructions": "", "model": "default", "vector_stores": []}
    assert "PATCH" in await refused(await http.post("/v1/agents", json=body), 409, None)


async def test_every_way_of_asking_tells_the_version(http: httpx.AsyncClient, name: str) -> None:
    await http.put(f"/v1/agents/{name}/aliases/prod", json={"version": 1})
    for address, version in ((name, 2), (f"{name}@1", 1), (f"{name}@prod", 1)):
        reply = await http.post(f"/v1/agents/{address}/chat", json=QUESTION)
        assert reply.json()["agent"] == name
        assert reply.json()["agent_version"] == version
        assert reply.json()["index_version"].isdigit()
        answers = [
            reply,
            await http.post("/v1/chat/completions", json={"model": address, "messages": SAID}),
            await http.post(
                f"/v1/agents/{address}/chat/completions", json={"model": "", "messages": SAID}
            ),
            await http.post("/v1/responses", json={"model": address, "input": "병가는?"}),
            await http.post(
                "/v1/chat/completions", json={"model": address, "messages": SAID, "stream": True}
            ),
        ]
        for answer in answers:
            assert answer.status_code == 200, answer.text
            told = answer.headers["x-naru-agent"], answer.headers["x-naru-agent-version"]
            assert told == (name, str(version))
        model = await http.get(f"/v1/models/{address}")
        assert model.json()["id"] == address
        await http.delete(f"/v1/sessions/{reply.json()['session_id']}")
    listed = {model["id"] for model in (await http.get("/v1/models")).json()["data"]}
    assert {name, f"{name}@prod"} < listed


@pytest.mark.parametrize("taken", ["default", "smart"])
async def test_no_agent_is_made_with_a_models_name(http: httpx.AsyncClient, taken: str) -> None:
    body = {"name": taken, "instructions": "", "model": "default", "vector_stores": []}
    answer = await http.post("/v1/agents", json=body)
    assert "choose another" in await refused(answer, 409, "name")
    assert answer.json()["error"]["code"] == "model_exists"
    assert (await http.get(f"/v1/agents/{taken}")).status_code == 404


async def test_a_model_of_an_agents_name_is_listed_once(
    http: httpx.AsyncClient, service: Service
) -> None:
    async with await open_pool(service.database, size=1) as pool:
        definition = AgentDefinition("broken", "", "default", ())
        await save_agent(pool, scope_of("acme", "app"), definition)
    models = (await http.get("/v1/models")).json()["data"]
    assert [model["owned_by"] for model in models if model["id"] == "broken"] == ["naru"]
    await http.delete("/v1/agents/broken")


async def test_a_canary_over_http(http: httpx.AsyncClient, name: str) -> None:
    targets = [{"version": 1, "weight": 50}, {"version": 2, "weight": 50}]
    alias = f"/v1/agents/{name}/aliases/prod"
    shown = (await http.put(alias, json={"targets": targets})).json()
    assert (shown["agent"], shown["name"], shown["targets"]) == (name, "prod", targets)
    seen = set()
    for session in (f"{name}-{n}" for n in range(12)):
        body = {"model": f"{name}@prod", "messages": SAID, "session_id": session}
        told = [
            (await http.post("/v1/chat/completions", json=body)).headers["x-naru-agent-version"]
            for _ in range(2)
        ]
        assert told[0] == told[1]
        seen.add(told[0])
        await http.delete(f"/v1/sessions/{session}")
    assert seen == {"1", "2"}
    await http.put(alias, json={"version": 2})
    assert (await http.post(f"{alias}/rollback")).json()["targets"] == targets
    aliases = (await http.get(f"/v1/agents/{name}/aliases")).json()["data"]
    assert [each["name"] for each in aliases] == ["prod"]
    assert (await http.delete(alias)).json()["deleted"] is True
    assert (await http.get(alias)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"version": 1, "targets": [{"version": 1}]},
        {"targets": []},
        {"version": 0},
        {"version": 9},
        {"targets": [{"version": 1, "weight": 0}]},
        {"targets": [{"version": 1}] * 2},
        {"targets": [{"version": n} for n in range(1, 10)]},
    ],
)
async def test_an_alias_points_at_versions(
    http: httpx.AsyncClient, name: str, body: dict[str, Any]
) -> None:
    answer = await http.put(f"/v1/agents/{name}/aliases/prod", json=body)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "trick",
    [
        *("@", "@@1", "@1@1", "@01", "@+1", "@1.0", "@1e0", "@-1", "@ 1", "@1 ", "@１", "@٣"),
        *(":1", "%2f1", "/1", "\\1", "%00", "%0a", "@1%0a", "@1%00", "@1%2f..", "@1/../1", ";1"),
        *("@prod%20", "@PROD", "@рrod", "＠1", "%25401", "\u200b", "@999999999"),
    ],
)
async def test_tricks_with_names_find_no_agent(
    http: httpx.AsyncClient, name: str, trick: str
) -> None:
    await http.put(f"/v1/agents/{name}/aliases/prod", json={"version": 1})
    answer = await http.post(f"/v1/agents/{name}{trick}/chat", json=QUESTION)
    assert answer.status_code in (400, 404, 405), (trick, answer.text)
    assert "agent_version" not in answer.text
    body = {"model": f"{name}{trick}", "messages": SAID}
    assert (await http.post("/v1/chat/completions", json=body)).status_code == 404


async def test_the_percent_form_of_an_at_sign_is_one(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get(f"/v1/agents/{name}%401")
    assert answer.json()["version"] == 1


async def test_variables(http: httpx.AsyncClient, name: str) -> None:
    given = {"variables": {"team": "HR"}}
    for path, body in (
        (f"/v1/agents/{name}/chat", QUESTION),
        ("/v1/chat/completions", {"model": name, "messages": SAID}),
        ("/v1/responses", {"model": name, "input": "병가는 며칠인가요?"}),
    ):
        answer = await http.post(path, json=body | given)
        assert answer.status_code == 200, answer.text
        unknown = await http.post(path, json=body | {"variables": {"teem": "HR"}})
        assert "team" in await refused(unknown, 400, "variables.teem")
        wrong = await http.post(path, json=body | {"variables": {"team": []}})
        assert wrong.status_code == 400
        assert "variables" in wrong.json()["error"]["message"]
    needed = {"variables": {"team": {"type": "string", "default": None}}}
    await http.patch(f"/v1/agents/{name}", json=needed)
    missing = await http.post(f"/v1/agents/{name}/chat", json=QUESTION)
    assert "needed" in await refused(missing, 400, "variables.team")


async def test_what_was_said_outlives_the_agent(http: httpx.AsyncClient, service: Service) -> None:
    name = f"gone-{uuid.uuid4().hex[:8]}"
    body = {"name": name, "instructions": "", "model": "default"}
    await http.post("/v1/agents", json=body | {"vector_stores": [service.store]})
    session = (await http.post(f"/v1/agents/{name}/chat", json=QUESTION)).json()["session_id"]
    assert (await http.delete(f"/v1/agents/{name}")).json() == {
        "id": name,
        "object": "agent.deleted",
        "deleted": True,
    }
    assert (await http.post(f"/v1/agents/{name}/chat", json=QUESTION)).status_code == 404
    messages = (await http.get(f"/v1/sessions/{session}/messages")).json()["data"]
    assert [message["agent"] for message in messages] == [name, name]
    await http.delete(f"/v1/sessions/{session}")


async def test_a_limited_client_makes_no_other_agents(service: Service) -> None:
    body = {"name": "mine", "instructions": "", "model": "default", "vector_stores": []}
    async with client_of(service, service.limited_key) as limited:
        for name in ("mine", "hr"):
            answer = await limited.post("/v1/agents", json=body | {"name": name})
            assert "limited to some agents" in await refused(answer, 403, None)
        # Its own it may ask, but not change: it may not use what that is made of.
        answer = await limited.patch("/v1/agents/patient", json={"instructions": "Leak."})
        assert "`falls-back`" in await refused(answer, 400, "model")
