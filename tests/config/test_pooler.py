"""Pools behind a real PgBouncer in transaction mode."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from pooler_support import needs_pooler, run_pooler

from config.errors import ConfigError
from config.postgres import Role, migrate, open_pool, session_of, tenant_transaction

ROLES: list[Role] = ["naru_app", "naru_auth", "naru_jobs"]


@pytest.fixture
def pooler(empty_database: str, tmp_path: Path) -> Iterator[str]:
    with run_pooler(empty_database, tmp_path, size=2) as url:
        yield url


@needs_pooler
@pytest.mark.parametrize("role", ROLES)
async def test_its_connections_work_as_the_role(
    empty_database: str, pooler: str, role: Role
) -> None:
    await migrate(empty_database, [])
    async with await open_pool(pooler, size=2, role=role) as pool:
        row = await pool.fetchrow("SELECT current_user, current_setting('jit') AS jit")
    assert row is not None
    assert (row["current_user"], row["jit"]) == (role, "off")


@needs_pooler
async def test_tenants_share_its_connections_and_nothing_else(
    empty_database: str, pooler: str
) -> None:
    await migrate(empty_database, [])
    async with await open_pool(pooler, size=20) as pool:

        async def whose(tenant: str) -> str:
            async with tenant_transaction(pool, tenant) as con:
                await con.fetchval("SELECT pg_sleep(0.001)")
                return str(await con.fetchval("SELECT current_setting('naru.tenant')"))

        tenants = [f"t{number}" for number in range(200)]
        assert await asyncio.gather(*map(whose, tenants)) == tenants
        left = await asyncio.gather(
            *(pool.fetchval("SELECT current_setting('naru.tenant', true)") for _ in range(20))
        )
        assert set(left) <= {"", None}
    owner = await asyncpg.connect(empty_database)
    assert await _connections(owner) <= 2
    await owner.close()


async def _connections(owner: asyncpg.Connection) -> int:
    """Return how many connections there are beside our own."""
    found = await owner.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return int(found)


@needs_pooler
async def test_one_that_works_as_somebody_else_is_refused(
    empty_database: str, tmp_path: Path
) -> None:
    await migrate(empty_database, [])
    with (
        run_pooler(empty_database, tmp_path, size=2, role="naru_jobs") as url,
        pytest.raises(ConfigError, match="naru_app works as naru_jobs"),
    ):
        await open_pool(url, size=1)


def test_a_pooler_has_a_database_for_each_role() -> None:
    session = session_of("pgbouncer://me:secret@pool:6432/", "naru_auth")
    assert session == {
        "dsn": "postgresql://me:secret@pool:6432/naru_auth",
        "server_settings": {"application_name": "naru"},
    }
