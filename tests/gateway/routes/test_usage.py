"""`/admin/usage` over HTTP: who sees whose."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from gateway_support import Service, client_of

import auth
from config.postgres import open_pool
from config.scope import SCOPES
from config.settings import AuthSettings

PRICE = {"gpu_hour_usd": "2"}
PATHS = {"/admin/usage": {}, "/admin/usage/records": {}, "/admin/usage/break-even": PRICE}


@pytest.fixture(scope="module")
async def callers(service: Service, data_dir: Path) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """An editor, an admin and an operator of `acme`; `acme` has asked twice, `rival` once."""
    box = auth.SecretBox.load(AuthSettings(), data_dir)
    found = {}
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(
            await open_pool(service.database, size=1, role="naru_auth")
        )
        for role in ("editor", "admin", "operator"):
            made = await auth.create_client(
                identity, box, "acme", name=role, role=role, scopes=SCOPES
            )
            key = await auth.create_key(identity, box, made.client_id, scopes=SCOPES)
            found[role] = await stack.enter_async_context(client_of(service, key.key))
        body = {"model": "all-MiniLM-L6-v2", "input": "hello"}
        for key_of in (service.key, service.key, service.stranger_key):
            async with client_of(service, key_of) as asking:
                assert (await asking.post("/v1/embeddings", json=body)).status_code == 200
        yield found


async def test_who_may_see_whose(callers: dict[str, httpx.AsyncClient]) -> None:
    for path, params in PATHS.items():
        other = {**params, "tenant": "rival"}
        assert (await callers["editor"].get(path, params=params)).status_code == 403, path
        assert (await callers["admin"].get(path, params=params)).status_code == 200, path
        assert (await callers["admin"].get(path, params=other)).status_code == 404, path
        assert (await callers["operator"].get(path, params=other)).status_code == 200, path
        everybodys = {**params, "tenant": "*"}
        assert (await callers["admin"].get(path, params=everybodys)).status_code == 403, path
    lacking = await callers["admin"].get("/admin/usage/break-even")
    assert lacking.status_code == 400
    assert lacking.json()["error"]["param"] == "gpu_hour_usd"


async def sums(caller: httpx.AsyncClient, **params: str) -> dict[str, int]:
    params = {"group_by": "kind", **params}
    rows = (await caller.get("/admin/usage", params=params)).json()["data"]
    return {row["tenant"]: row["requests"] for row in rows if row["kind"] == "embeddings"}


async def until_shipped(operator: httpx.AsyncClient) -> None:
    """Records are shipped a moment after their answers."""
    async with asyncio.timeout(60):
        while (await sums(operator, tenant="*")).keys() != {"acme", "rival"}:
            await asyncio.sleep(0.05)


async def test_sums(callers: dict[str, httpx.AsyncClient]) -> None:
    await until_shipped(callers["operator"])
    assert (await sums(callers["admin"])).keys() == {"acme"}
    assert (await sums(callers["admin"], client="nobody")) == {}
    answer = await callers["admin"].get("/admin/usage?group_by=day,client&format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    none = await callers["admin"].get("/admin/usage?group_by=day,client&client=-&format=csv")
    assert none.text.splitlines() == answer.text.splitlines()[:1]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["tenant"] for row in rows} == {"acme"}
    assert {"day", "client", "requests", "cost_usd"} < rows[0].keys()


async def test_records_in_every_form(callers: dict[str, httpx.AsyncClient]) -> None:
    await until_shipped(callers["operator"])
    path = "/admin/usage/records?limit=1"
    page = (await callers["admin"].get(path)).json()
    assert page["data"][0]["tenant"] == "acme"
    lines = await callers["admin"].get(f"{path}&format=ndjson")
    assert [json.loads(line) for line in lines.text.splitlines()] == page["data"]
    assert lines.headers.get("x-naru-next") == page["next"]
    table = await callers["admin"].get(f"{path}&format=csv")
    none = await callers["admin"].get(f"{path}&format=csv&client=-")
    assert none.text.splitlines() == table.text.splitlines()[:1]
    (row,) = csv.DictReader(io.StringIO(table.text))
    assert row["id"] == page["data"][0]["id"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("group_by=tokens", "group_by"),
        ("from=yesterday", "from"),
        ("from=2026-12-01&to=2026-11-01", "to"),
        ("from=2026-11-01T02:00:00Z&to=2026-11-01T02:30:00%2B09:00", "to"),
        ("timezone=Moon/Base", "timezone"),
        ("from=9999-01-01T00:00:00Z&to=2026-01-01&timezone=%00", "timezone"),
        ("model=%00", "model"),
        ("format=xml", "format"),
        ("clent=app", "clent"),
        ("client=app&client=other", "client"),
        ("client=&client=", "client"),
    ],
)
async def test_bad_queries(
    callers: dict[str, httpx.AsyncClient], query: str, param: str | None
) -> None:
    answer = await callers["admin"].get(f"/admin/usage?{query}")
    assert answer.status_code == 400
    assert param is None or answer.json()["error"]["param"] == param
