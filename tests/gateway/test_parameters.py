"""Which query parameters are refused, and where."""

from pathlib import Path

import httpx
import pytest
from gateway_support import Service, client_of

import auth
from config.postgres import open_pool
from config.settings import AuthSettings, Settings
from gateway.app import create_app


@pytest.fixture(scope="module")
async def admin_key(service: Service, data_dir: Path) -> str:
    box = auth.SecretBox.load(AuthSettings(), data_dir)
    async with await open_pool(service.database, size=1, role="naru_auth") as identity:
        scopes = ("inference", "admin")
        made = await auth.create_client(
            identity, box, "acme", name="asks", role="admin", scopes=scopes
        )
        return (await auth.create_key(identity, box, made.client_id)).key


def at_fault(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["param"]


@pytest.mark.parametrize(
    "path",
    [
        *("/admin/usage", "/admin/usage/records", "/admin/usage/break-even", "/admin/audit"),
        *("/admin/limits", "/admin/budgets", "/admin/clients", "/admin/keys", "/admin/feedback"),
    ],
)
async def test_administration_takes_what_it_knows_once(
    service: Service, admin_key: str, path: str
) -> None:
    async with client_of(service, admin_key) as admin:
        assert at_fault(await admin.get(path, params={"clent": "app"})) == (400, "clent")
        assert at_fault(await admin.get(f"{path}?x" + "y" * 99)) == (400, "x" + "y" * 63)


async def test_what_is_told_twice_is_refused(service: Service, admin_key: str) -> None:
    async with client_of(service, admin_key) as admin:
        assert at_fault(await admin.get("/admin/audit?limit=1&limit=2")) == (400, "limit")
        assert (await admin.get("/admin/audit?limit=1&action=x")).status_code == 200
        unknown = await admin.post("/admin/clients?tenant=acme", json={"name": "x"})
        assert at_fault(unknown) == (400, "tenant")


async def test_openai_s_routes_take_what_nobody_knows(service: Service, admin_key: str) -> None:
    async with client_of(service, admin_key) as anybody:
        assert (await anybody.get("/v1/models?api-version=1&api-version=2")).status_code == 200


def test_the_dependencies_parameters_are_known(tmp_path: Path) -> None:
    known = create_app(Settings(), tmp_path).state.parameters
    taken = {handler.operation_id: names for handler, names in known.items()}
    assert taken["get_usage"] >= {"from", "to", "group_by", "client", "tenant", "format"}
    assert taken["list_feedback"] == {"agent", "after", "limit"}
    assert taken["create_client"] == frozenset()
    assert "list_models" not in taken
