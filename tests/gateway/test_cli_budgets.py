"""`naru budget` against a running service."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from gateway_support import Service

import auth
from auth.profile import default_scopes
from config.postgres import open_pool
from config.settings import AuthSettings

Finished = subprocess.CompletedProcess[str]
Naru = Callable[..., Awaitable[Finished]]


@pytest.fixture
async def tenant(service: Service) -> str:
    """A tenant of the test's own: budgets of others are not to be met."""
    name = f"purse-{uuid.uuid4().hex[:8]}"
    async with await open_pool(service.database, size=1, role="naru_auth") as identity:
        await auth.create_tenant(identity, name, name)
    return name


@pytest.fixture
async def naru(service: Service, data_dir: Path, tenant: str) -> Naru:
    """Run `naru budget` as an operator of that tenant, or with another key."""
    async with await open_pool(service.database, size=1, role="naru_auth") as identity:
        box = auth.SecretBox.load(AuthSettings(), data_dir)
        scopes = default_scopes("operator") | {"admin"}
        client = await auth.create_client(
            *(identity, box, tenant), name="purser", role="operator", scopes=scopes
        )
        purser = (await auth.create_key(identity, box, client.client_id)).key
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NARU")}

    async def run(*arguments: str, key: str = purser) -> Finished:
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-P", "-m", "gateway", "budget", *arguments],
            env=clean | {"NARU_URL": service.url, "NARU_API_KEY": key, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


async def _say(naru: Naru, *arguments: str) -> str:
    result = await naru(*arguments)
    assert result.returncode == 0, result.stderr
    return str(result.stdout.strip())


async def test_a_budget_from_its_making_to_its_end(naru: Naru, tenant: str) -> None:
    whole = await _say(naru, "create", "12.50")
    each = await _say(naru, "create", "0.5", "--period", "day", "--client", "*", "--end-user", "*")
    lines = (await _say(naru, "list")).splitlines()
    assert f"{whole}  {tenant}  month  0 of 12.5 USD spent  12.5 left" in lines
    assert any(line.startswith(f"{each}  {tenant}/*/*  day  0 of 0.5 USD") for line in lines)
    await _say(naru, "set", whole, "20")
    shown = dict(line.split(": ", 1) for line in (await _say(naru, "show", whole)).splitlines())
    assert (shown["id"], shown["tenant"], shown["period"]) == (whole, tenant, "month")
    assert (shown["amount_usd"], shown["left_usd"]) == ("20", "20")
    await _say(naru, "delete", whole)
    await _say(naru, "delete", each)
    assert await _say(naru, "list") == ""


async def test_an_operator_makes_budgets_of_other_tenants(naru: Naru, tenant: str) -> None:
    made = await _say(naru, "create", "1", "--tenant", "rival", "--client", "stranger")
    assert made in await _say(naru, "list", "--tenant", "rival")
    assert made not in await _say(naru, "list", "--tenant", tenant)
    await _say(naru, "delete", made)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("create", "much"), "a decimal number of dollars, such as 12.50"),
        (("create", "1\n"), "a decimal number of dollars, such as 12.50"),
        (("create", "-1"), ""),
        (("create", "1", "--tenant", "no-such-tenant"), "tenant"),
        (("list", "--tenant", "no-such-tenant"), "no tenant 'no-such-tenant'"),
        (("show", "no-such-budget"), "budget"),
        (("show", "../limits"), "no budget '../limits'"),
        (("show", ".."), "'..' is no id"),
        (("show", ""), "'' is no id"),
        (("set", "no-such-budget", "1"), "budget"),
        (("delete", "no-such-budget"), "budget"),
    ],
)
async def test_what_goes_wrong_is_one_line(
    naru: Naru, arguments: tuple[str, ...], fault: str
) -> None:
    result = await naru(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    if fault:
        assert result.stderr.startswith("naru: ")
        assert result.stderr.count("\n") == 1, result.stderr
        assert fault in result.stderr


async def test_who_may_not_is_told_so(naru: Naru, service: Service) -> None:
    refused = await naru("list", key=service.key)
    assert refused.returncode == 2
    assert "admin" in refused.stderr
    unknown = await naru("list", key="naru_sk_nobody")
    assert unknown.returncode == 2
    assert unknown.stderr.count("\n") == 1
