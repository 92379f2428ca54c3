from pathlib import Path

import pytest
from gateway_support import Service, client_of

import auth
from config.postgres import open_pool
from config.scope import SCOPES
from config.settings import AuthSettings


@pytest.fixture(scope="module")
async def admin(service: Service, data_dir: Path) -> str:
    """The key of an administrator."""
    async with await open_pool(service.database, size=1, role="naru_auth") as identity:
        box = auth.SecretBox.load(AuthSettings(), data_dir)
        client = await auth.create_client(
            identity, box, "acme", name="boss", role="admin", scopes=SCOPES
        )
        return (await auth.create_key(identity, box, client.client_id, scopes=SCOPES)).key


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/sessions?limit=1&after=%00", "after"),
        ("/v1/sessions/x/messages?after=a%00b", "after"),
        ("/v1/files?purpose=%00", "purpose"),
        ("/admin/feedback?after=%00", "after"),
        ("/admin/feedback/compare?agent=%00", "agent"),
        ("/admin/audit?action=%00", "action"),
        ("/admin/audit?tenant=%00", "tenant"),
        ("/admin/limits?tenant=%00&after=", "tenant"),
        ("/admin/usage?model=%00", "model"),
        ("/v1/models?a%00b=1", "ab"),
    ],
)
async def test_no_query_holds_what_no_store_can(
    service: Service, admin: str, path: str, param: str
) -> None:
    async with client_of(service, admin) as caller:
        answer = await caller.get(path)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], "NUL" in error["message"]) == (param, True)


async def test_a_percent_sign_before_zeroes_is_none(service: Service, admin: str) -> None:
    async with client_of(service, admin) as caller:
        assert (await caller.get("/admin/audit?action=%2500")).json()["data"] == []
