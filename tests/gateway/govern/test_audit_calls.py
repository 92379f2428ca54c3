"""Calls in the audit log: each whose usage record is kept, once, and nothing of its text."""

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from config.ledger import LedgerSettings
from config.scope import TenantScope
from gateway.govern import ledger_store
from gateway.govern.audit import AuditEvent, AuditLog, inspect
from gateway.govern.charge import Asked, Charge
from gateway.govern.governor import Governor
from gateway.govern.journal_slots import Left
from gateway.govern.ledger import open_ledger
from gateway.govern.ledger_record import Ended, begun_text, ended_record, left_text, opened_text
from gateway.govern.ledger_store import LedgerStore
from gateway.openai.usage import TokenUsage

KEY = b"k" * 32
TENANT = "acme"
SCOPE = TenantScope(TENANT, "app", frozenset({"inference"}), key="key-1")


def asked() -> Charge:
    charge = Charge(SCOPE, Asked("chat", "default"))
    charge.attempt("fake/x", "hosted").usage = TokenUsage(prompt_tokens=3, completion_tokens=4)
    return charge


def record() -> Ended:
    charge = asked()
    charge.end()
    return ended_record(charge, begun_text(charge))


async def add(url: str, *records: Ended) -> None:
    store = LedgerStore(url, None, KEY)
    try:
        await store.add(records)
    finally:
        await store.close()


async def audited(pool: asyncpg.Pool) -> list[dict[str, Any]]:
    pages = await AuditLog(pool, KEY).page(TENANT, limit=50)
    return [json.loads(bytes(each)) for each in pages]


async def test_a_call_is_recorded_without_its_text(
    pool: asyncpg.Pool, empty_database: str, tmp_path: Path
) -> None:
    charge = asked()
    async with open_ledger(LedgerSettings(), tmp_path, empty_database, audit_key=KEY) as ledger:
        async with Governor(ledger).governing(charge):
            charge.attempt("fake/y", "hosted").usage = TokenUsage(1, 1)
        async with asyncio.timeout(60):
            while not (found := await audited(pool)):
                await asyncio.sleep(0.02)
    (told,) = found
    ended = dt.datetime.now(dt.UTC).timestamp() * 1000
    assert charge.at * 1000 - 1 <= told.pop("at") <= ended
    assert told == {
        "seq": 1,
        "tenant": TENANT,
        "action": "call.chat",
        "outcome": "done",
        "target": {"model": "default"},
        "actor": {"client": "app", "key": "key-1"},
        "detail": {
            "request": "",
            "targets": ["fake/x", "fake/y"],
            "prompt_tokens": 4,
            "completion_tokens": 5,
            "ending": "completed",
        },
    }


async def test_what_comes_twice_is_audited_once(pool: asyncpg.Pool, empty_database: str) -> None:
    first, second = record(), record()
    await add(empty_database, first)
    await add(empty_database, first, second, second)
    assert len(await audited(pool)) == 2
    found = await inspect(pool, KEY, TENANT)
    assert (found.checked, found.fault) == (2, None)


async def test_calls_and_changes_are_one_chain(pool: asyncpg.Pool, empty_database: str) -> None:
    log = AuditLog(pool, KEY)
    async with log.writing():
        changes = (log.record(AuditEvent(TENANT, "update_client", "done")) for _ in range(10))
        await asyncio.gather(*changes, *(add(empty_database, record()) for _ in range(10)))
    found = await inspect(pool, KEY, TENANT)
    assert (found.checked, found.fault) == (20, None)


async def test_a_call_that_a_killed_process_left_failed(
    pool: asyncpg.Pool, empty_database: str
) -> None:
    charge = asked()
    text = opened_text(charge, begun_text(charge))
    left = left_text(Left(text, ended=False, counted=TokenUsage(3, 1)))
    await add(empty_database, Ended.read(left))
    (told,) = await audited(pool)
    assert (told["outcome"], told["detail"]["ending"]) == ("failed", "killed")
    assert told["detail"]["completion_tokens"] == 1


async def test_no_usage_record_is_kept_of_a_call_that_is_not_audited(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    empty_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(ledger_store, "append_calls", fail)
    call = record()
    with pytest.raises(ConnectionResetError):
        await add(empty_database, call)
    assert await owner.fetchval("SELECT count(*) FROM usage_records") == 0
    monkeypatch.undo()
    await add(empty_database, call)
    assert len(await audited(pool)) == 1


async def test_calls_are_not_audited_unless_that_is_wanted(
    pool: asyncpg.Pool, empty_database: str
) -> None:
    store = LedgerStore(empty_database, None)
    await store.add([record()])
    await store.close()
    assert await audited(pool) == []
