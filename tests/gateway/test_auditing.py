"""What is audited over HTTP: every change, every token, every refusal."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from gateway_support import Service, client_of
from litestar.handlers import HTTPRouteHandler

import auth
from auth.profile import default_scopes
from config.postgres import open_pool
from config.settings import AuthSettings, Settings
from gateway.app import create_app
from gateway.auditing import Refusals, is_audited
from gateway.govern.audit import inspect
from gateway.guards import needed_scope

GRANT = {"grant_type": "client_credentials"}


class Desk:
    """Callers of three roles, and a client whose secret is known."""

    def __init__(self, callers: dict[str, httpx.AsyncClient], client: auth.NewClient) -> None:
        self.admin, self.viewer, self.operator, self.rival = callers.values()
        self.client = client

    async def records(self, who: httpx.AsyncClient | None = None, **query: Any) -> list[Any]:
        answer = await (who or self.admin).get("/admin/audit", params={"limit": 100} | query)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])


@pytest.fixture
async def desk(service: Service, data_dir: Any) -> AsyncIterator[Desk]:
    box = auth.SecretBox.load(AuthSettings(), data_dir)
    wanted = [("acme", "admin"), ("acme", "viewer"), ("acme", "operator"), ("rival", "admin")]
    callers = {}
    async with AsyncExitStack() as stack:
        pool = await open_pool(service.database, size=2, role="naru_auth")
        identity = await stack.enter_async_context(pool)
        for tenant, role in wanted:
            made = await auth.create_client(
                identity, box, tenant, name=role, role=role, scopes=default_scopes(role) | {"admin"}
            )
            key = await auth.create_key(identity, box, made.client_id)
            client = await stack.enter_async_context(client_of(service, key.key))
            callers[tenant, role] = client
        known = await auth.create_client(identity, box, "acme", name="known")
        yield Desk(callers, known)


async def test_a_change_is_recorded_before_and_after(desk: Desk, service: Service) -> None:
    made = await desk.admin.post("/admin/clients", json={"name": "audited"})
    assert made.status_code == 201, made.text
    ended, begun = (await desk.records(action="create_client"))[:2]
    assert begun["outcome"] == "begun"
    assert begun["detail"] == {"name": "audited"}
    assert begun["actor"].keys() == {"client", "key"}
    assert (ended["outcome"], ended["detail"]) == ("done", {"status": 201, "of": begun["seq"]})
    assert made.json()["client_secret"] not in json.dumps(await desk.records())


async def test_what_fails_and_what_is_refused(desk: Desk) -> None:
    gone = await desk.admin.delete("/admin/clients/nobody-of-that-id")
    assert gone.status_code == 404
    ended, begun = (await desk.records(action="disable_client"))[:2]
    assert (begun["target"], ended["outcome"]) == ({"client_id": "nobody-of-that-id"}, "failed")
    refused = await desk.viewer.post("/v1/vector_stores", json={"name": "mine"})
    assert refused.status_code == 403
    (record, *_) = await desk.records(action="create_vector_store")
    assert (record["outcome"], record["detail"]["status"]) == ("refused", 403)


async def test_documents_are_recorded_without_their_text(desk: Desk) -> None:
    store = await desk.admin.post("/v1/vector_stores", json={"name": "secret-name"})
    assert store.status_code == 200, store.text
    _, begun = (await desk.records(action="create_vector_store"))[:2]
    assert begun["detail"] == {"fields": ["name"]}
    await desk.admin.delete(f"/v1/vector_stores/{store.json()['id']}")


async def test_tokens_are_recorded(desk: Desk, service: Service) -> None:
    async with client_of(service, None) as anybody:
        known = (desk.client.client_id, desk.client.client_secret)
        assert (await anybody.post("/oauth/token", data=GRANT, auth=known)).status_code == 200
        wrong = GRANT | {"scope": "admin"}
        assert (await anybody.post("/oauth/token", data=wrong, auth=known)).status_code == 400
        nobody = ("nobody-at-all", "x")
        assert (await anybody.post("/oauth/token", data=GRANT, auth=nobody)).status_code == 401
    refused, issued = (await desk.records(action="token.issue"))[:2]
    assert issued["actor"] == refused["actor"] == {"client": desk.client.client_id}
    assert (issued["outcome"], refused["outcome"]) == ("done", "refused")
    assert "inference" in issued["detail"]["scope"]
    assert refused["detail"] == {"status": 400, "error": "invalid_scope"}
    system = await desk.records(desk.operator, tenant="@system", action="token.issue")
    assert system[0]["detail"]["error"] == "invalid_client"


async def test_a_revocation_says_whose_token_it_was(desk: Desk, service: Service) -> None:
    known = (desk.client.client_id, desk.client.client_secret)
    async with client_of(service, None) as anybody:
        issued = await anybody.post("/oauth/token", data=GRANT, auth=known)
        token = {"token": issued.json()["access_token"]}
        for _ in range(2):
            assert (await anybody.post("/oauth/revoke", data=token, auth=known)).status_code == 200
    nothing, revoked = (await desk.records(action="token.revoke"))[:2]
    assert revoked["target"] == {"client": desk.client.client_id}
    assert "target" not in nothing


async def test_each_tenant_sees_its_own_chain(desk: Desk) -> None:
    await desk.admin.post("/admin/clients", json={"name": "ours"})
    theirs = await desk.records(desk.rival)
    assert all(record["tenant"] == "rival" for record in theirs)
    for other in ("acme", "@system"):
        answer = await desk.rival.get("/admin/audit", params={"tenant": other})
        assert answer.status_code == 404
    unknown = await desk.operator.get("/admin/audit", params={"tenant": "nobody"})
    assert unknown.status_code == 404
    ours = await desk.records(desk.operator, tenant="acme", action="create_client")
    assert ours[0]["tenant"] == "acme"


async def test_pages(desk: Desk) -> None:
    for number in range(3):
        await desk.admin.post("/admin/clients", json={"name": f"p{number}"})
    first = (await desk.admin.get("/admin/audit", params={"limit": 2})).json()
    second = await desk.admin.get("/admin/audit", params={"limit": 2, "before": first["next"]})
    numbers = [record["seq"] for record in first["data"] + second.json()["data"]]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 4
    for name, value in (("since", -1), ("before", 10**23), ("before", -(2**63) - 1)):
        wrong = await desk.admin.get("/admin/audit", params={name: value})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, name)


async def test_the_chain_holds(desk: Desk, service: Service, data_dir: Any) -> None:
    await desk.admin.post("/admin/clients", json={"name": "held"})
    box = auth.SecretBox.load(AuthSettings(), data_dir)
    async with await open_pool(service.database, size=1) as pool:
        found = await inspect(pool, box.audit_key, "acme")
    assert found.checked
    assert found.fault is None


def test_every_change_of_agents_knowledge_and_administration_is_audited(tmp_path: Any) -> None:
    app = create_app(Settings(), tmp_path)
    changing = {"POST", "PUT", "PATCH", "DELETE"}
    handlers = [
        handler
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        if isinstance(handler, HTTPRouteHandler) and set(handler.http_methods) & changing
    ]
    audited = {handler.operation_id for handler in handlers if is_audited(handler)}
    assert {"create_tenant", "create_file", "delete_vector_store"} <= audited
    wanted = {"admin", "agents:write", "knowledge:write"}
    assert audited == {h.operation_id for h in handlers if needed_scope(h) in wanted}


def test_refusals_are_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("gateway.auditing.time.monotonic", lambda: now)
    refusals = Refusals(per_second=2)
    assert [refusals.admit() for _ in range(5)] == [{}, {}, None, None, None]
    now += 1
    assert refusals.admit() == {"passed_over": 3}
    assert refusals.admit() == {}
