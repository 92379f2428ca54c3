"""Who reaches which object: every route that names one, for everybody who may ask.

What is another's looks exactly like what does not exist: the same answer, by the same statements.
The routes come from the OpenAPI document, so that a new one fails here until it has a row.
"""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx
import pytest
from asyncpg.connection import Connection
from gateway_support import Service, client_of
from turns_support import all_events

QUESTION = {"message": "병가는 며칠인가요?"}
CHAT = {"model": "hr", "messages": [{"role": "user", "content": "병가는 며칠인가요?"}]}
SAID = {"role": "user", "content": "x"}
FILE = {"file_id": "{file_id}"}
QUERY = {"query": "병가"}
SOURCE = {"kind": "urls", "urls": ["https://docs.example.com/a.md"]}


@dataclass(frozen=True)
class Route:
    """A route that names an object.

    `shared` tells whether the tenant's other clients reach the object too.
    """

    scope: str
    body: dict[str, Any] | None = None
    shared: bool = True
    status: int = 200


ROUTES = {
    "get_model": Route("inference"),
    "get_agent": Route("agents"),
    "update_agent": Route("agents:write", {"description": "new"}),
    "roll_back_agent": Route("agents:write", {"version": 1}),
    "list_agent_versions": Route("agents"),
    "get_agent_version": Route("agents"),
    "list_agent_aliases": Route("agents"),
    "get_agent_alias": Route("agents"),
    "put_agent_alias": Route("agents:write", {"version": 1}),
    "roll_back_agent_alias": Route("agents:write"),
    "delete_agent_alias": Route("agents:write"),
    "delete_agent": Route("agents:write"),
    "get_pais_agent": Route("agents"),
    "create_pais_completion": Route("agents", {"messages": [SAID | {"content": "병가?"}]}),
    "chat_with_agent": Route("agents", QUESTION),
    "create_agent_completion": Route("agents", CHAT),
    "get_message_trace": Route("agents", shared=False),
    "replay_message": Route("agents", {"agent": "{name}"}, shared=False),
    "get_session": Route("agents", shared=False),
    "list_messages": Route("agents", shared=False),
    "get_message": Route("agents", shared=False),
    "delete_feedback": Route("agents", shared=False),
    "resume_stream": Route("agents", shared=False),
    "fork_session": Route("agents", {}, shared=False, status=201),
    "delete_session": Route("agents", shared=False, status=204),
    "get_response": Route("inference", shared=False),
    "list_input_items": Route("inference", shared=False),
    "cancel_response": Route("inference", shared=False),
    "delete_response": Route("inference", shared=False),
    "get_conversation": Route("inference", shared=False),
    "update_conversation": Route("inference", {"metadata": {"a": "b"}}, shared=False),
    "create_conversation_items": Route("inference", {"items": [SAID]}, shared=False),
    "list_conversation_items": Route("inference", shared=False),
    "get_conversation_item": Route("inference", shared=False),
    "delete_conversation_item": Route("inference", shared=False),
    "delete_conversation": Route("inference", shared=False),
    "get_file": Route("knowledge"),
    "get_file_content": Route("knowledge"),
    "delete_file": Route("knowledge:write"),
    "get_vector_store": Route("knowledge"),
    "update_vector_store": Route("knowledge:write", {"name": "new"}),
    "delete_vector_store": Route("knowledge:write"),
    "reindex_vector_store": Route("knowledge:write", {"model": "all-MiniLM-L6-v2"}, status=202),
    "cancel_reindex_of_vector_store": Route("knowledge:write"),
    "search_vector_store": Route("knowledge", QUERY),
    "create_vector_store_file": Route("knowledge:write", FILE),
    "list_vector_store_files": Route("knowledge"),
    "get_vector_store_file": Route("knowledge"),
    "update_vector_store_file": Route("knowledge:write", {"attributes": {"year": 2026}}),
    # It is not read here: its owner is told so.
    "get_vector_store_file_content": Route("knowledge", status=400),
    "delete_vector_store_file": Route("knowledge:write"),
    "create_file_batch": Route("knowledge:write", {"file_ids": ["{file_id}"]}),
    "get_file_batch": Route("knowledge"),
    "cancel_file_batch": Route("knowledge:write"),
    "list_batch_files": Route("knowledge"),
    "create_source": Route("knowledge:write", {"origin": SOURCE}),
    "list_sources": Route("knowledge"),
    "get_source": Route("knowledge"),
    "update_source": Route("knowledge:write", {"schedule": None}),
    "delete_source": Route("knowledge:write"),
    "sync_source": Route("knowledge:write", status=202),
}


@dataclass(frozen=True)
class Operation:
    """A route of the document."""

    method: str
    path: str

    def params(self, body: dict[str, Any] | None) -> list[str]:
        """The objects it names, in its path or its body."""
        return re.findall(r"\{(\w+)\}", self.path + str(body or ""))


@pytest.fixture(scope="session")
async def operations(service: Service) -> dict[str, Operation]:
    """Every route that names an object in its path, by its operation id."""
    async with client_of(service, None) as nobody:
        paths = (await nobody.get("/schema/openapi.json")).json()["paths"]
    return {
        operation["operationId"]: Operation(method, path)
        for path, methods in paths.items()
        for method, operation in methods.items()
        # Not a tenant's data: tests of the administration have its own matrix of roles.
        if "{" in path and not path.startswith("/admin/")
    }


async def make_objects(client: httpx.AsyncClient) -> dict[str, str]:
    """An object of every kind, new: id by the name of the path parameter."""
    file = (await client.post("/v1/files", files={"file": ("a.txt", b"text")})).json()["id"]
    store = (await client.post("/v1/vector_stores", json={"file_ids": [file]})).json()["id"]
    batches = f"/v1/vector_stores/{store}/file_batches"
    batch = (await client.post(batches, json={"file_ids": [file]})).json()["id"]
    sources = f"/v1/vector_stores/{store}/sources"
    source = (await client.post(sources, json={"origin": SOURCE})).json()["id"]
    return {"file_id": file, "store_id": store, "batch_id": batch, "source_id": source}


async def make_response(client: httpx.AsyncClient) -> str:
    """A response of the background, so that it can be cancelled; it has ended."""
    asked = {"model": "hr", "input": QUESTION["message"], "background": True}
    made = (await client.post("/v1/responses", json=asked)).json()["id"]
    async with asyncio.timeout(20):
        while (await client.get(f"/v1/responses/{made}")).json()["status"] != "completed":
            await asyncio.sleep(0.02)
    return str(made)


async def make_conversation(client: httpx.AsyncClient) -> dict[str, str]:
    made = (await client.post("/v1/conversations", json={"items": [SAID]})).json()["id"]
    items = (await client.get(f"/v1/conversations/{made}/items")).json()["data"]
    return {"conversation_id": made, "item_id": items[0]["id"]}


async def make_session(client: httpx.AsyncClient) -> dict[str, str]:
    """A session with an answer that was streamed, so that its stream can be resumed, and rated."""
    asked = QUESTION | {"stream": True, "resumable": True}
    answer = await client.post("/v1/agents/hr/chat", json=asked)
    first, *_ = all_events(answer.text)
    made = {name: first.data[name] for name in ("session_id", "message_id")}
    rated = await client.post(
        "/v1/feedback", json={"message_id": made["message_id"], "rating": "up"}
    )
    assert rated.status_code == 200, rated.text
    return made


async def make_agent(client: httpx.AsyncClient, store: str) -> dict[str, str]:
    """An agent of two versions, and an alias that pointed at another one before."""
    # A new name each time: the numbers of versions go on after an agent of that name is deleted.
    name = f"copy-{uuid.uuid4().hex[:8]}1"
    body = {"name": name, "instructions": "", "model": "default", "vector_stores": [store]}
    assert (await client.post("/v1/agents", json=body)).status_code == 201
    await client.patch(f"/v1/agents/{name}", json={"top_k": 7})
    for version in (1, 2):
        await client.put(f"/v1/agents/{name}/aliases/prod", json={"version": version})
    return {"name": name, "model": name, "agent_id": name, "version": "1", "alias": "prod"}


@pytest.fixture
async def objects(http: httpx.AsyncClient, service: Service) -> AsyncIterator[dict[str, str]]:
    """Objects of the client `app`. An agent is named as a model too."""
    made = await make_objects(http)
    own = await make_conversation(http) | {"response_id": await make_response(http)}
    own |= await make_session(http)
    own |= await make_agent(http, service.store)
    yield made | own
    await http.delete(f"/v1/agents/{own['name']}")
    await http.delete(f"/v1/vector_stores/{made['store_id']}")
    await http.delete(f"/v1/files/{made['file_id']}")


def missing(objects: dict[str, str]) -> dict[str, str]:
    """Ids of the same shape that nothing has."""
    return {name: re.sub(r"[0-9a-f](?=[0-9a-f]*$)|\w$", "0", id_) for name, id_ in objects.items()}


async def ask(
    client: httpx.AsyncClient, operation: Operation, route: Route, ids: dict[str, str]
) -> httpx.Response:
    body = route.body and json.loads(
        re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], json.dumps(route.body))
    )
    return await client.request(operation.method, operation.path.format(**ids), json=body)


def told(answer: httpx.Response, ids: dict[str, str]) -> tuple[object, ...]:
    """What the caller learns, but for the id it sent itself."""
    content = answer.text
    for name, id_ in ids.items():
        content = content.replace(f"'{id_}'", name).replace(f"`{id_}`", name)
    headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date")}
    headers["server-timing"] = re.sub(r"dur=[0-9.]+", "dur", headers.get("server-timing", ""))
    headers.pop("content-length")
    return answer.status_code, headers, content


@contextmanager
def statements() -> Iterator[list[str]]:
    """Whatever the service runs on its tenants' data meanwhile."""
    seen: list[str] = []
    run = Connection._execute

    async def record(self: Connection, query: str, *args: Any, **kwargs: Any) -> Any:
        if self._params.server_settings.get("role") == "naru_app":
            seen.append(query)
        return await run(self, query, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "_execute", record)
        yield seen


async def test_every_route_that_names_an_object_has_a_row(
    operations: dict[str, Operation],
) -> None:
    assert set(operations) == set(ROUTES)


@pytest.mark.parametrize("name", ROUTES)
async def test_the_owner_reaches_it(
    operations: dict[str, Operation], http: httpx.AsyncClient, objects: dict[str, str], name: str
) -> None:
    answer = await ask(http, operations[name], ROUTES[name], objects)
    assert answer.status_code == ROUTES[name].status, answer.text


@pytest.mark.parametrize("name", ROUTES)
async def test_without_a_token_it_is_401_and_without_the_scope_403(
    operations: dict[str, Operation],
    nobody: httpx.AsyncClient,
    service: Service,
    objects: dict[str, str],
    name: str,
) -> None:
    route, operation = ROUTES[name], operations[name]
    limited = route.scope in ("inference", "knowledge:write")
    key = service.librarian_key if limited else service.reader_key
    for ids in (objects, missing(objects)):
        assert (await ask(nobody, operation, route, ids)).status_code == 401
        async with client_of(service, key) as wrong:
            answer = await ask(wrong, operation, route, ids)
        assert answer.status_code == 403
        assert f'scope="{route.scope}"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("name", [name for name in ROUTES if ROUTES[name].shared])
async def test_another_client_of_the_tenant_reaches_what_is_the_tenants(
    operations: dict[str, Operation],
    colleague: httpx.AsyncClient,
    objects: dict[str, str],
    name: str,
) -> None:
    answer = await ask(colleague, operations[name], ROUTES[name], objects)
    assert answer.status_code == ROUTES[name].status, answer.text
    for session in (await colleague.get("/v1/sessions")).json()["data"]:
        await colleague.delete(f"/v1/sessions/{session['id']}")


@pytest.mark.parametrize(
    ("name", "who"),
    [(name, who) for name in ROUTES for who in ("stranger", "limited")]
    + [(name, "colleague") for name in ROUTES if not ROUTES[name].shared],
)
async def test_for_others_it_is_not_there(
    operations: dict[str, Operation],
    service: Service,
    http: httpx.AsyncClient,
    objects: dict[str, str],
    name: str,
    who: str,
) -> None:
    operation, route = operations[name], ROUTES[name]
    async with client_of(service, getattr(service, f"{who}_key")) as other:
        absent = missing(objects)
        assert absent != objects
        # Both once before: what is prepared or cached on the way is then the same for both.
        await ask(other, operation, route, absent)
        with statements() as for_missing:
            nothing = await ask(other, operation, route, absent)
        with statements() as for_foreign:
            foreign = await ask(other, operation, route, objects)
    assert nothing.status_code == 404
    assert told(foreign, objects) == told(nothing, absent)
    assert for_foreign == for_missing != []
    assert (await ask(http, operation, route, objects)).status_code == route.status


@pytest.mark.parametrize("name", [n for n in ROUTES if re.search("store_file|batch|source", n)])
async def test_an_own_object_opens_no_foreign_one(
    operations: dict[str, Operation],
    stranger: httpx.AsyncClient,
    objects: dict[str, str],
    name: str,
) -> None:
    operation, route = operations[name], ROUTES[name]
    own = await make_objects(stranger)
    params = operation.params(route.body)
    for choice in product((own, objects), repeat=len(params)):
        ids = {param: source[param] for param, source in zip(params, choice, strict=True)}
        if ids.items() <= own.items():
            continue
        answer = await ask(stranger, operation, route, ids)
        assert answer.status_code == 404, ids
    await stranger.delete(f"/v1/vector_stores/{own['store_id']}")
    await stranger.delete(f"/v1/files/{own['file_id']}")


async def test_lists_hold_what_is_ones_own(
    service: Service, objects: dict[str, str], stranger: httpx.AsyncClient
) -> None:
    async with client_of(service, service.limited_key) as limited:
        for path in ("files", "vector_stores", "sessions"):
            for other in (stranger, limited):
                assert (await other.get(f"/v1/{path}")).json()["data"] == [], path
        assert (await stranger.get("/v1/agents")).json()["data"] == []
        (agent,) = (await limited.get("/v1/agents")).json()["data"]
        (model,) = (await limited.get("/v1/models")).json()["data"]
        assert agent["name"] == model["id"] == "patient"


async def test_an_allowed_agent_brings_its_model_and_its_stores(service: Service) -> None:
    async with client_of(service, service.limited_key) as limited:
        reply = (await limited.post("/v1/agents/patient/chat", json=QUESTION)).json()
        assert "10일" in reply["response"]
        await limited.delete(f"/v1/sessions/{reply['session_id']}")
        as_model = await limited.post("/v1/chat/completions", json=CHAT | {"model": "patient"})
        assert "10일" in as_model.json()["choices"][0]["message"]["content"]
        for model in ("falls-back", "default", "down/x", "nothing"):
            answer = await limited.post("/v1/chat/completions", json=CHAT | {"model": model})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_limited_client_is_told_why_it_can_make_no_store(service: Service) -> None:
    async with client_of(service, service.limited_key) as limited:
        answer = await limited.post("/v1/vector_stores", json={"name": "mine"})
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("permission_error", "not_allowed")
    assert "limited to some vector stores" in error["message"]


async def test_a_store_with_a_file_that_is_not_there_is_not_made(
    stranger: httpx.AsyncClient, objects: dict[str, str]
) -> None:
    body = {"name": "left over", "file_ids": [objects["file_id"]]}
    assert (await stranger.post("/v1/vector_stores", json=body)).status_code == 404
    assert (await stranger.get("/v1/vector_stores")).json()["data"] == []
