"""`/admin`: who may do what, to whose clients, over HTTP."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from gateway_support import Service, client_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oauth_support import eventually

import auth
from auth.profile import default_scopes
from config.postgres import open_pool
from config.scope import SCOPES
from config.settings import AuthSettings
from gateway.routes.admin import wire

ROLES = ("viewer", "editor", "admin", "operator")
GRANT = {"grant_type": "client_credentials"}


@dataclass(frozen=True)
class Site:
    """Callers of every role in `acme`, and an admin of `rival`, with all scopes they can hold."""

    identity: asyncpg.Pool
    box: auth.SecretBox
    service: Service
    callers: dict[str, httpx.AsyncClient]

    async def target(self, tenant: str = "acme", **options: Any) -> dict[str, str]:
        """A client of its own for a test, with a secret and a key: id by path parameter."""
        made = await auth.create_client(self.identity, self.box, tenant, name="target", **options)
        key = await auth.create_key(self.identity, self.box, made.client_id)
        secret = await self.identity.fetchval(
            "SELECT id FROM client_secrets WHERE client = $1", made.client_id
        )
        ids = {"client_id": made.client_id, "key_id": key.key_id, "secret_id": secret}
        rule = {"tenant": tenant, "per": "client", "subject": made.client_id}
        limit = await self.callers["operator"].post("/admin/limits", json=rule)
        ids |= {"limit_id": limit.json()["id"]}
        return ids | {"secret": made.client_secret, "key": key.key}

    async def token(self, client_id: str, secret: str) -> httpx.Response:
        async with client_of(self.service, None) as http:
            return await http.post("/oauth/token", data=GRANT, auth=(client_id, secret))


@pytest.fixture(scope="session")
async def site(service: Service, data_dir: Path) -> AsyncIterator[Site]:
    box = auth.SecretBox.load(AuthSettings(), data_dir)
    wanted = {role: ("acme", role) for role in ROLES} | {"rival": ("rival", "admin")}
    callers = {}
    async with AsyncExitStack() as stack:
        pool = await open_pool(service.database, size=2, role="naru_auth")
        identity = await stack.enter_async_context(pool)
        for name, (tenant, role) in wanted.items():
            made = await auth.create_client(
                identity, box, tenant, name=name, role=role, scopes=default_scopes(role) | {"admin"}
            )
            key = await auth.create_key(identity, box, made.client_id)
            callers[name] = await stack.enter_async_context(client_of(service, key.key))
        yield Site(identity, box, service, callers)


READS = (
    ("GET", "/admin/clients/{client_id}"),
    ("GET", "/admin/clients/{client_id}/secrets"),
    ("GET", "/admin/clients/{client_id}/keys"),
    ("GET", "/admin/keys/{key_id}"),
    ("GET", "/admin/limits/{limit_id}"),
)
WRITES = (
    ("PATCH", "/admin/clients/{client_id}", 200),
    ("DELETE", "/admin/clients/{client_id}", 200),
    ("POST", "/admin/clients/{client_id}/secrets", 201),
    ("DELETE", "/admin/clients/{client_id}/secrets/{secret_id}", 200),
    ("POST", "/admin/clients/{client_id}/keys", 201),
    ("DELETE", "/admin/keys/{key_id}", 200),
    ("PATCH", "/admin/limits/{limit_id}", 200),
    ("DELETE", "/admin/limits/{limit_id}", 200),
)
PLATFORM = (
    ("GET", "/admin/tenants", 200),
    ("GET", "/admin/tenants/acme", 200),
    ("PATCH", "/admin/tenants/acme", 200),
    ("GET", "/admin/signing-keys", 200),
    ("POST", "/admin/signing-keys", 201),
)


async def ask(
    caller: httpx.AsyncClient, method: str, path: str, ids: dict[str, str] | None = None
) -> httpx.Response:
    body = {} if method in ("POST", "PATCH") else None
    return await caller.request(method, path.format(**(ids or {})), json=body)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["type"]


async def test_every_route_of_the_document_is_in_a_table(nobody: httpx.AsyncClient) -> None:
    paths = (await nobody.get("/schema/openapi.json")).json()["paths"]
    named = {
        (method.upper(), path)
        for path, methods in paths.items()
        for method in methods
        if path.startswith("/admin/") and "{" in path and not path.startswith("/admin/budgets")
    }
    known = {(method, path) for method, path, *_ in (*READS, *WRITES)}
    assert {pair for pair in named if "tenant_id" not in pair[1] and "kid" not in pair[1]} == known


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path"), READS)
async def test_every_role_reads_its_own_tenant(
    site: Site, role: str, method: str, path: str
) -> None:
    ids = await site.target()
    answer = await ask(site.callers[role], method, path, ids)
    assert answer.status_code == 200, answer.text
    for secret in (ids["secret"], ids["key"]):
        assert secret not in answer.text
        assert site.box.digest(secret).hex() not in answer.text
    assert "hash" not in answer.text


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path", "status"), WRITES)
async def test_admins_and_operators_write_in_their_own_tenant(
    site: Site, role: str, method: str, path: str, status: int
) -> None:
    answer = await ask(site.callers[role], method, path, await site.target())
    if role in ("admin", "operator"):
        assert answer.status_code == status, answer.text
    else:
        assert error_of(answer) == (403, "permission_error")


def told(answer: httpx.Response, ids: dict[str, str]) -> tuple[object, ...]:
    content = answer.text
    for name, id_ in ids.items():
        content = content.replace(id_, name)
    headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date")}
    headers["server-timing"] = re.sub(r"dur=[0-9.]+", "dur", headers.get("server-timing", ""))
    return answer.status_code, headers, content


@pytest.mark.parametrize("role", [*ROLES, "rival"])
@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method, path, *_ in (*READS, *WRITES)]
)
async def test_a_foreign_object_is_a_missing_one(
    site: Site, role: str, method: str, path: str
) -> None:
    ids = await site.target("acme" if role == "rival" else "rival")
    absent = {name: re.sub(r"[0-9a-f](?=[0-9a-f]*$)", "0", id_) for name, id_ in ids.items()}
    foreign = await ask(site.callers[role], method, path, ids)
    missing = await ask(site.callers[role], method, path, absent)
    assert error_of(missing) == (404, "invalid_request_error")
    if role == "operator":
        assert foreign.status_code in (200, 201)
    else:
        assert told(foreign, ids) == told(missing, absent)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path", "status"), PLATFORM)
async def test_tenants_and_signing_keys_are_the_operators(
    site: Site, role: str, method: str, path: str, status: int
) -> None:
    answer = await ask(site.callers[role], method, path)
    if role == "operator":
        assert answer.status_code == status, answer.text
    else:
        assert error_of(answer) == (403, "permission_error")


async def test_without_the_scope_admin_the_role_is_worth_nothing(site: Site) -> None:
    made = await auth.create_client(site.identity, site.box, "acme", name="x", role="operator")
    key = await auth.create_key(site.identity, site.box, made.client_id)
    async with client_of(site.service, key.key) as http:
        for path in ("clients", "keys", "tenants", "signing-keys"):
            assert (await http.get(f"/admin/{path}")).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"role": "operator"},
        {"role": "operator", "scopes": ["admin"]},
        {"role": "admin", "tenant": "rival"},
    ],
)
async def test_an_admin_makes_nobody_above_itself_or_elsewhere(
    site: Site, body: dict[str, Any]
) -> None:
    answer = await site.callers["admin"].post("/admin/clients", json={"name": "x"} | body)
    assert answer.status_code == (404 if "tenant" in body else 403)
    operators = await site.callers["operator"].post("/admin/clients", json={"name": "x"} | body)
    assert operators.status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "status"), [each for each in WRITES if "limit_id" not in each[1]]
)
async def test_an_admin_does_not_touch_an_operator(
    site: Site, method: str, path: str, status: int
) -> None:
    ids = await site.target(role="operator")
    assert error_of(await ask(site.callers["admin"], method, path, ids))[0] == 403
    assert (
        await site.callers["admin"].get(f"/admin/clients/{ids['client_id']}")
    ).status_code == 200


async def limited_admin(site: Site, **options: Any) -> httpx.AsyncClient:
    made = await auth.create_client(
        site.identity, site.box, "acme", name="x", role="admin", **options
    )
    return client_of(
        site.service, (await auth.create_key(site.identity, site.box, made.client_id)).key
    )


async def test_an_admin_gives_no_scope_that_it_lacks(site: Site) -> None:
    ids = await site.target()
    own = f"/admin/clients/{ids['client_id']}"
    bare = f"/admin/clients/{(await site.target(scopes=('inference',)))['client_id']}"
    async with await limited_admin(site, scopes=("admin", "inference")) as http:
        refused = [
            await http.post("/admin/clients", json={"name": "x"}),
            # A credential of a client opens what the client may.
            await http.post(f"{own}/secrets", json={}),
            await http.post(f"{own}/keys", json={}),
            await http.patch(own, json={"auth_methods": ["client_secret_post"]}),
            await http.patch(bare, json={"scopes": ["inference", "knowledge"]}),
        ]
        assert [answer.status_code for answer in refused] == [403] * 5
        narrow = await http.post(f"{own}/keys", json={"scopes": ["inference"]})
        less = await http.patch(own, json={"scopes": ["agents", "inference"], "name": "less"})
        assert (narrow.status_code, less.status_code) == (201, 200)


async def test_an_admin_allows_no_object_beyond_its_own(site: Site) -> None:
    ids = await site.target(allowed_agents=["hr", "other"])
    own = f"/admin/clients/{ids['client_id']}"
    async with await limited_admin(site, scopes=SCOPES, allowed_agents=["hr"]) as http:
        for body in ({"allowed_agents": None}, {"allowed_agents": ["hr", "other", "x"]}):
            assert (await http.patch(own, json=body)).status_code == 403
        assert (await http.post(f"{own}/keys", json={})).status_code == 403
        assert (await http.post("/admin/clients", json={"name": "x"})).status_code == 403
        made = await http.post("/admin/clients", json={"name": "x", "allowed_agents": ["hr"]})
        assert made.status_code == 201
        assert (await http.patch(own, json={"allowed_agents": ["other"]})).status_code == 200


async def test_an_admin_whose_prompts_stay_local_frees_no_client(site: Site) -> None:
    ids = await site.target(residency="local")
    own = f"/admin/clients/{ids['client_id']}"
    async with await limited_admin(site, scopes=SCOPES, residency="local") as http:
        assert (await http.patch(own, json={"residency": "any"})).status_code == 403
        assert (await http.post("/admin/clients", json={"name": "x"})).status_code == 403
        made = await http.post("/admin/clients", json={"name": "x", "residency": "local"})
        assert (made.status_code, (await http.patch(own, json={})).status_code) == (201, 200)
    freed = await site.callers["admin"].patch(own, json={"residency": "any"})
    assert freed.json()["residency"] == "any"


async def test_a_secret_is_shown_once_and_works(site: Site) -> None:
    made = await site.callers["admin"].post("/admin/clients", json={"name": "새 클라이언트"})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    body = made.json()
    secret = body.pop("client_secret")
    assert (await site.token(body["id"], secret)).status_code == 200
    again = await site.callers["viewer"].get(f"/admin/clients/{body['id']}")
    assert again.json() == body
    assert body["tenant"] == "acme"


async def test_a_rotation_overlaps_and_its_emergency_does_not(site: Site) -> None:
    ids = await site.target()
    client, path = ids["client_id"], f"/admin/clients/{ids['client_id']}/secrets"
    second = await site.callers["admin"].post(path, json={"overlap_s": 600})
    assert second.headers["cache-control"] == "no-store"
    for secret in (ids["secret"], second.json()["client_secret"]):
        assert (await site.token(client, secret)).status_code == 200
    third = await site.callers["admin"].post(path, json={})
    assert error_of(third)[0] == 409
    now = await site.callers["admin"].post(path, json={"overlap_s": 0})
    for secret in (ids["secret"], second.json()["client_secret"]):
        assert (await site.token(client, secret)).status_code == 401
    assert (await site.token(client, now.json()["client_secret"])).status_code == 200
    (left,) = (await site.callers["viewer"].get(path)).json()["data"]
    assert (left["id"], left["expires_at"]) == (now.json()["id"], None)


async def test_a_disabled_client_comes_back_with_its_keys_but_not_its_tokens(site: Site) -> None:
    ids = await site.target()
    path = f"/admin/clients/{ids['client_id']}"
    token = (await site.token(ids["client_id"], ids["secret"])).json()["access_token"]
    async with client_of(site.service, token) as bearer:
        assert (await bearer.get("/v1/models")).status_code == 200
        disabled = await site.callers["admin"].delete(path)
        assert disabled.json()["disabled_at"] is not None

        async def refused() -> bool:
            return (await bearer.get("/v1/models")).status_code == 401

        assert await eventually(refused, within_s=5)
    assert (await site.token(ids["client_id"], ids["secret"])).status_code == 401
    enabled = await site.callers["admin"].patch(path, json={"disabled": False})
    assert enabled.json()["disabled_at"] is None
    async with client_of(site.service, ids["key"]) as http:
        assert (await http.get("/v1/models")).status_code == 200
    async with client_of(site.service, None) as http:
        credentials = (ids["client_id"], ids["secret"])
        form = {"token": token}
        introspected = await http.post("/oauth/introspect", data=form, auth=credentials)
    assert introspected.json() == {"active": False}


@pytest.mark.parametrize(
    ("body", "param", "word"),
    [
        ({"nmae": "x"}, None, "nmae"),
        ({"role": "owner"}, "role", "owner"),
        ({"scopes": ["root"]}, None, "root"),
        ({"scopes": []}, "scopes", "a scope is needed"),
        ({"role": "viewer", "scopes": ["agents:write"]}, "scopes", "viewer"),
        ({"default_scopes": ["admin"]}, "scopes", "can't grant admin"),
        ({"auth_methods": ["private_key_jwt"]}, "jwks", "public keys"),
        ({"auth_methods": []}, "auth_methods", "choose from"),
        ({"jwks": {"keys": []}}, "jwks", "1 to 10"),
        ({"jwks": {"keys": "x"}}, "jwks", "1 to 10"),
        ({"jwks": {"keys": [[]]}}, "jwks", "object"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}, "jwks", "not a public one"),
        ({"allowed_agents": ["a b"]}, "allowed_agents", "'a b'"),
        ({"allowed_models": ["m"] * 3 + [str(n) for n in range(64)]}, "allowed_models", "64"),
        ({"client_id": "a b"}, None, "client id"),
        ({"role": "king"}, "role", "it is one of admin, editor, operator, viewer"),
        ({"name": ""}, None, "printable"),
        ({"name": None}, "name", "str"),
        ({"tenant": "nobody"}, None, "tenant"),
    ],
)
async def test_what_a_client_cannot_be_is_told(
    site: Site, body: dict[str, Any], param: str | None, word: str
) -> None:
    answer = await site.callers["operator"].post("/admin/clients", json={"name": "x"} | body)
    assert answer.status_code == (404 if "tenant" in body else 400), answer.text
    error = answer.json()["error"]
    assert word in error["message"]
    assert param is None or (error["param"] or "").startswith(param)


async def test_lists_are_paged(site: Site) -> None:
    operator = site.callers["operator"]
    for number in range(3):
        body = {"id": f"paged-{number}", "name": "x"}
        assert (await operator.post("/admin/tenants", json=body)).status_code == 201
        assert (await operator.post("/admin/tenants", json=body)).status_code == 409
    for path in ("tenants", "clients", "keys"):
        seen: list[str] = []
        more = {"has_more": True, "last_id": None}
        while more["has_more"]:
            after = {"after": more["last_id"]} if more["last_id"] else {}
            more = (await operator.get(f"/admin/{path}", params={"limit": 2} | after)).json()
            seen += [item["id"] for item in more["data"]]
        whole = (await operator.get(f"/admin/{path}", params={"limit": 100})).json()
        assert seen[:100] == [item["id"] for item in whole["data"]]
        assert len(set(seen)) == len(seen)
        wrong = await operator.get(f"/admin/{path}", params={"after": "nobody"})
        assert wrong.status_code == 404
        assert (await operator.get(f"/admin/{path}", params={"limit": 101})).status_code == 400


async def test_lists_hold_one_tenant_alone(site: Site) -> None:
    await site.target()
    for path in ("clients", "keys"):
        for caller, tenant in (("viewer", "acme"), ("rival", "rival")):
            answer = await site.callers[caller].get(f"/admin/{path}", params={"limit": 100})
            assert {item["tenant"] for item in answer.json()["data"]} == {tenant}
    answer = await site.callers["viewer"].get("/admin/clients", params={"tenant": "rival"})
    assert answer.status_code == 404
    answer = await site.callers["operator"].get("/admin/clients", params={"tenant": "rival"})
    assert {item["tenant"] for item in answer.json()["data"]} == {"rival"}


async def test_a_disabled_tenants_clients_are_refused_until_it_is_back(site: Site) -> None:
    operator = site.callers["operator"]
    await operator.post("/admin/tenants", json={"id": "short-lived", "name": "x"})
    ids = await site.target("short-lived")
    path = "/admin/tenants/short-lived"
    assert (await operator.delete(path)).json()["disabled_at"] is not None
    assert (await site.token(ids["client_id"], ids["secret"])).status_code == 401
    renamed = await operator.patch(path, json={"disabled": False, "name": "Lived"})
    assert (renamed.json()["name"], renamed.json()["disabled_at"]) == ("Lived", None)
    assert (await site.token(ids["client_id"], ids["secret"])).status_code == 200


async def test_a_signing_key_is_added_and_removed(site: Site) -> None:
    operator = site.callers["operator"]
    made = (await operator.post("/admin/signing-keys", json={})).json()
    assert made["state"] == "next"
    listed = (await operator.get("/admin/signing-keys")).json()["data"]
    assert made in listed
    path = f"/admin/signing-keys/{made['id']}"
    assert (await operator.delete(path)).json()["deleted"] is True
    assert error_of(await operator.delete(path))[0] == 404


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=10)
    | st.sampled_from(["admin", "operator", "any", "private_key_jwt", "agents", "kty"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["keys", "kty", "x", "e"]), inner)
    ),
    max_leaves=6,
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.dictionaries(st.sampled_from(wire.UpdateClient.__struct_fields__), JSON))
async def test_no_change_of_a_client_is_a_fault_of_ours(
    site: Site, body: dict[str, object]
) -> None:
    operator = site.callers["operator"]
    target = f"/admin/clients/{(await site.target())['client_id']}"
    for method, path in (("POST", "/admin/clients"), ("PATCH", target)):
        answer = await operator.request(method, path, json={"name": "x"} | body)
        assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "jwks",
    [
        '{"keys":' + "[" * 50_000 + "]" * 50_000 + "}",
        '{"keys":[{"kty":"EC","kid":"\\ud800"}]}',
        '{"keys":[{"kty":"RSA","n":"' + "A" * 100_000 + '","e":"AQAB"}]}',
        '{"keys":[{"kty":"EC","crv":"P-256","x":"' + "A" * 100_000 + '","y":"AA"}]}',
    ],
    ids=["deep", "surrogate", "long", "point"],
)
async def test_a_hostile_key_set_is_a_400(site: Site, jwks: str) -> None:
    body = '{"name":"x","jwks":' + jwks + "}"
    headers = {"content-type": "application/json"}
    operator = site.callers["operator"]
    answer = await operator.post("/admin/clients", content=body, headers=headers)
    assert answer.status_code == 400, answer.text
