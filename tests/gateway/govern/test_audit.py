"""The audit log in PostgreSQL: appended by many, changed by nobody unseen."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from config.audit import AuditSettings
from config.postgres import open_pool, tenant_transaction
from config.scope import TenantScope
from gateway.errors import Unavailable
from gateway.govern import audit, audit_retention
from gateway.govern.audit import AuditEvent, AuditLog, inspect, prune
from gateway.govern.audit_retention import AuditRetention

KEY = b"k" * 32
TENANT = "acme"
SCOPE = TenantScope(TENANT, "app", frozenset({"inference"}))


@pytest.fixture
async def log(pool: asyncpg.Pool) -> AsyncIterator[AuditLog]:
    log = AuditLog(pool, KEY)
    async with log.writing():
        yield log


def event(tenant: str, action: str = "update_client") -> AuditEvent:
    return AuditEvent(tenant, action, "done", {"client_id": "x"}, {"client": "boss"})


async def test_what_many_record_at_once_is_one_chain(pool: asyncpg.Pool) -> None:
    logs = [AuditLog(pool, KEY) for _ in range(3)]
    async with logs[0].writing(), logs[1].writing(), logs[2].writing():
        numbers = await asyncio.gather(
            *(each.record(event(TENANT, f"a{i}")) for i in range(40) for each in logs)
        )
    assert sorted(numbers) == list(range(1, 121))
    found = await inspect(pool, KEY, TENANT)
    assert (found.checked, found.fault) == (120, None)


async def test_a_record_tells_who_did_what(log: AuditLog) -> None:
    before_ms = time.time_ns() // 1_000_000
    await log.record(event(TENANT, "first"))
    await log.record(event(TENANT))
    newest, _ = [json.loads(bytes(each)) for each in await log.page(TENANT, limit=5)]
    assert newest.pop("at") >= before_ms
    assert newest == {
        "seq": 2,
        "tenant": TENANT,
        "action": "update_client",
        "outcome": "done",
        "target": {"client_id": "x"},
        "actor": {"client": "boss"},
    }


async def test_a_record_is_stored_as_it_was_hashed(log: AuditLog, pool: asyncpg.Pool) -> None:
    said = 'a "quoted" \\ 이름\n{"seq":9,"record":[]} \x7f\u2028'
    await log.record(AuditEvent(TENANT, "a", "done", {"name": said}, detail={"of": [1, {}, None]}))
    found = await inspect(pool, KEY, TENANT)
    assert (found.checked, found.fault) == (1, None)
    (record,) = [json.loads(bytes(each)) for each in await log.page(TENANT, limit=5)]
    assert record["target"] == {"name": said}


async def test_pages_and_filters(log: AuditLog) -> None:
    for action in ("a", "b", "a"):
        await log.record(event(TENANT, action))

    async def numbers(**sought: object) -> list[int]:
        found = await log.page(TENANT, limit=2, **sought)
        return [json.loads(bytes(each))["seq"] for each in found]

    assert await numbers() == [3, 2]
    assert await numbers(before=2) == [1]
    assert await numbers(action="a") == [3, 1]
    assert await numbers(since_ms=2**50) == []
    assert await numbers(until_ms=0) == []
    assert await log.page("rival", limit=2) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET record = '{}' WHERE seq = 1",
        "DELETE FROM audit_log WHERE seq = 1",
        "TRUNCATE audit_log",
    ],
)
async def test_the_service_can_only_append(
    log: AuditLog, pool: asyncpg.Pool, statement: str
) -> None:
    await log.record(event(TENANT))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with tenant_transaction(pool, TENANT) as con:
            await con.execute(statement)


async def test_the_owner_is_kept_from_it_too_and_found_out(
    log: AuditLog, pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    for _ in range(3):
        await log.record(event(TENANT))
    forged = """UPDATE audit_log SET record = replace(record::text, 'boss', 'none')::json
        WHERE tenant = $1 AND seq = 2"""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with tenant_transaction(owner, TENANT):
            await owner.execute(forged, TENANT)
    async with tenant_transaction(owner, TENANT):
        await owner.execute("ALTER TABLE audit_log DISABLE TRIGGER append_only")
        await owner.execute(forged, TENANT)
        await owner.execute("ALTER TABLE audit_log ENABLE TRIGGER append_only")
    found = await inspect(pool, KEY, TENANT)
    assert found.fault
    assert found.fault.seq == 2


async def test_old_records_go_and_the_chain_holds(
    log: AuditLog,
    pool: asyncpg.Pool,
    empty_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(4):
        await log.record(event(TENANT))
    assert await prune(pool, KEY, TENANT, before_ms=0) == 0
    day_ns = 86_400 * 10**9
    now_ns = time.time_ns()
    monkeypatch.setattr(audit.time, "time_ns", lambda: now_ns + 2 * day_ns)
    await log.record(event(TENANT))
    async with await open_pool(empty_database, size=2, role="naru_jobs") as jobs:
        retention = AuditRetention(jobs, KEY, AuditSettings(retention_days=1))
        await retention.sweep()
        assert len(await log.page(TENANT, limit=10)) == 5, "nothing is a day old"
        monkeypatch.setattr(audit_retention.time, "time", lambda: now_ns / 1e9 + 86_500)
        await retention.sweep()
    kept = [json.loads(bytes(each)) for each in await log.page(TENANT, limit=10)]
    assert [each["seq"] for each in kept] == [6, 5]
    assert kept[0]["action"] == "audit.pruned"
    found = await inspect(pool, KEY, TENANT)
    assert (found.checked, found.fault) == (2, None)


async def test_an_idle_chain_is_pruned_once(log: AuditLog, pool: asyncpg.Pool) -> None:
    for _ in range(4):
        last = await log.record(event(TENANT))
    later_ms = int(time.time() * 1000) + 10_000
    assert await prune(pool, KEY, TENANT, later_ms) == 4
    assert await prune(pool, KEY, TENANT, later_ms) == 0, "what says so is no reason to prune"
    (kept,) = [json.loads(bytes(each)) for each in await log.page(TENANT, limit=10)]
    assert (kept["seq"], kept["action"]) == (5, "audit.pruned")
    found = await inspect(pool, KEY, TENANT)
    assert (found.checked, found.fault, found.pruned[0]) == (1, None, last)
    await log.record(event(TENANT))
    assert await prune(pool, KEY, TENANT, later_ms) == 2, "it goes with the next ones"
    found = await inspect(pool, KEY, TENANT)
    assert (found.checked, found.fault, found.pruned[0]) == (1, None, 6)


async def test_what_can_not_be_stored_is_said(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_PATIENCE_S", 0.05)
    log = AuditLog(pool, KEY)
    with pytest.raises(Unavailable, match="audit log"):
        await log.record(event("t"))
    monkeypatch.setattr(audit, "_MOST_WAITING", 1)
    with pytest.raises(Unavailable, match="audit log"):
        await log.record(event("t"))
    await log.try_to_record(event("t"))


async def test_what_a_standby_can_not_store_is_stored_later(
    log: AuditLog, pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    database = await owner.fetchval("SELECT quote_ident(current_database())")
    await owner.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    await pool.expire_connections()
    await log.record_in_time(event(TENANT, "token.issue"))
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await log.record(event(TENANT))
    await owner.execute("SET default_transaction_read_only = off")
    await owner.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    await pool.expire_connections()
    await log.record(event(TENANT, "first"))
    await log.record(event(TENANT, "second"))
    found = [json.loads(bytes(each))["action"] for each in await log.page(TENANT, limit=5)]
    assert sorted(found) == ["first", "second", "token.issue"]


async def test_what_nobody_waits_for_and_can_not_be_stored_is_logged(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    log = AuditLog(pool, KEY)
    recording = asyncio.create_task(log.record(event(TENANT)))
    await asyncio.sleep(0)
    recording.cancel()
    await pool.close()
    async with log.writing():
        await asyncio.wait([recording])
    assert "update_client was not recorded" in caplog.text
