"""The ledger over a real PostgreSQL: what is written once, what waits, what is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from support import scope_of

from config.ledger import LedgerSettings
from gateway.errors import NotFound, Unavailable
from gateway.govern import ledger_shipper
from gateway.govern.charge import Asked, Charge
from gateway.govern.journal import find_legacy, open_journal
from gateway.govern.journal_slots import read_slots
from gateway.govern.ledger import Ledger, open_ledger
from gateway.govern.ledger_record import Ended, begun_text, ended_record
from gateway.govern.ledger_store import LedgerStore
from gateway.openai.usage import TokenUsage

AWAY = "postgresql://naru@127.0.0.1:9/naru"


@asynccontextmanager
async def opened(
    url: str, folder: Path, journal: Path | None = Path("journal"), **values: Any
) -> AsyncIterator[Ledger]:
    settings = LedgerSettings.model_validate({"journal": journal, **values})
    async with open_ledger(settings, folder, url) as ledger:
        yield ledger


def charge(tenant: str = "acme") -> Charge:
    return Charge(scope_of(tenant, "app"), Asked("chat", "smart", 30))


async def ask(ledger: Ledger, tenant: str = "acme") -> Charge:
    """A request from its beginning to its end."""
    asked = charge(tenant)
    ledger.open(asked)
    asked.attempt("fake/x", "hosted").usage = TokenUsage(3, 2, 1)
    asked.end()
    await ledger.close(asked)
    return asked


async def until_there_are(owner: asyncpg.Connection, count: int) -> list[asyncpg.Record]:
    async with asyncio.timeout(60):
        while len(rows := await owner.fetch("SELECT * FROM usage_records")) < count:
            await asyncio.sleep(0.02)
    assert len(rows) == count
    return list(rows)


async def test_every_request_has_a_row(
    owner: asyncpg.Connection, empty_database: str, tmp_path: Path
) -> None:
    async with opened(empty_database, tmp_path) as ledger:
        asked = [await ask(ledger, tenant) for tenant in ("acme", "rival", "acme")]
        rows = await until_there_are(owner, 3)
    assert {row["id"].hex for row in rows} == {each.id for each in asked}
    assert sorted(row["tenant"] for row in rows) == ["acme", "acme", "rival"]
    assert {(row["prompt_tokens"], row["completion_tokens"]) for row in rows} == {(3, 2)}
    assert list((tmp_path / "journal").iterdir()) == [], "nothing is left to be shipped"


async def test_what_is_added_twice_is_there_once(
    owner: asyncpg.Connection, empty_database: str
) -> None:
    records: list[Ended] = []

    class Noting(LedgerStore):
        async def add(self, some: Any) -> None:
            records.extend(some)

    shipper = ledger_shipper.Shipper(ledger_shipper.Slots.in_memory(16), Noting(AWAY, None), None)
    running = asyncio.create_task(shipper.run())
    await ask(Ledger(shipper, fsync=False))
    await ask(Ledger(shipper, fsync=False))
    await shipper.close(running)
    store = LedgerStore(empty_database, None)
    await store.add(records[:1])
    await store.add([*records, *records])
    await store.close()
    assert await owner.fetchval("SELECT count(*) FROM usage_records") == 2


async def test_what_ends_while_others_are_shipped_gathers_for_the_next_batch(
    tmp_path: Path,
) -> None:
    batches: list[int] = []

    class Busy(LedgerStore):
        async def add(self, some: Any) -> None:
            batches.append(len(some))
            await ask(ledger)

    journal = open_journal(tmp_path, slots=16, max_bytes=0)
    shipper = ledger_shipper.Shipper(journal.slots, Busy(AWAY, None), journal)
    ledger = Ledger(shipper, fsync=False)
    await ask(ledger)
    await ask(ledger)
    await shipper._ship_ended()
    assert batches == [2]
    assert shipper.waiting == 1
    journal.close()


async def test_while_postgresql_is_away_records_wait_on_the_disk(
    owner: asyncpg.Connection, empty_database: str, tmp_path: Path
) -> None:
    async with opened(AWAY, tmp_path, max_open=16) as ledger:
        for _ in range(40):
            async with asyncio.timeout(30):
                while True:
                    try:
                        await ask(ledger)
                        break
                    except Unavailable:  # until the first ones are on the disk
                        await asyncio.sleep(0.02)
    assert await owner.fetchval("SELECT count(*) FROM usage_records") == 0
    async with opened(empty_database, tmp_path):
        await until_there_are(owner, 40)
        async with asyncio.timeout(30):
            while len(list((tmp_path / "journal").iterdir())) > 1:
                await asyncio.sleep(0.02)
    assert list((tmp_path / "journal").iterdir()) == []


async def test_what_nobody_ended_is_told_by_the_next_process(
    owner: asyncpg.Connection, empty_database: str, tmp_path: Path
) -> None:
    async with opened(AWAY, tmp_path) as ledger:
        asked = charge()
        ledger.open(asked)
        asked.attempt("fake/x", "hosted").usage = TokenUsage(8, 5, 0)
        asked.count()
    async with opened(empty_database, tmp_path):
        (row,) = await until_there_are(owner, 1)
    assert (row["id"].hex, row["ending"]) == (asked.id, "killed")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (8, 5)


async def test_who_waits_before_asking_anybody_is_written_down_when_the_loop_has_its_next_turn(
    empty_database: str, tmp_path: Path
) -> None:
    async with opened(empty_database, tmp_path) as ledger:
        waiting, refused = charge(), charge()
        ledger.open(waiting)
        ledger.open(refused)
        refused.end(NotFound("no such model"))
        await ledger.close(refused)
        await asyncio.sleep(0)
        left = list(read_slots(bytes(ledger._slots._memory)))
        told = {each.ended: each.text for each in left}
        assert waiting.id.encode() in told[False]
        assert refused.id.encode() in told[True]
        waiting.end()
        await ledger.close(waiting)


async def test_who_asks_at_once_is_written_down_twice(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(empty_database, tmp_path) as ledger:
        written: list[bool] = []
        write = ledger._slots.write

        def noting(slot: int, text: bytes, *, ended: bool = False) -> None:
            written.append(ended)
            write(slot, text, ended=ended)

        monkeypatch.setattr(ledger._slots, "write", noting)
        await ask(ledger)
        await asyncio.sleep(0)
        assert written == [False, True]


async def test_where_nothing_takes_records_requests_are_refused(tmp_path: Path) -> None:
    async with opened(AWAY, tmp_path, max_open=16) as ledger:
        ledger._shipper._journal.segments._max_bytes = 0  # type: ignore[union-attr] - a full disk
        kept = [await ask(ledger) for _ in range(16)]
        with pytest.raises(Unavailable) as refused:
            await ask(ledger)
    assert refused.value.code == "ledger_unavailable"
    legacy = find_legacy(tmp_path / "journal")
    assert legacy
    assert len(legacy.left) == len(kept), "and what was answered is not lost"
    legacy.release()


async def test_without_a_journal_an_answer_waits_for_its_record(
    owner: asyncpg.Connection, empty_database: str, tmp_path: Path
) -> None:
    async with opened(empty_database, tmp_path, journal=None) as ledger:
        for count in range(1, 4):
            await ask(ledger)
            assert await owner.fetchval("SELECT count(*) FROM usage_records") == count
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - it is empty


async def test_without_either_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledger_shipper, "_WRITTEN_THROUGH_S", 0.01)
    async with opened(AWAY, tmp_path, journal=None) as ledger:
        await ask(ledger)
        async with asyncio.timeout(30):
            while ledger._shipper.keeps:
                await asyncio.sleep(0.01)
        with pytest.raises(Unavailable):
            ledger.open(charge())
    assert "in memory alone" in caplog.text


async def test_a_journal_that_can_t_be_made_is_done_without(
    owner: asyncpg.Connection, empty_database: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    async with opened(empty_database, tmp_path, journal=Path("file/journal")) as ledger:
        await ask(ledger)
        assert await owner.fetchval("SELECT count(*) FROM usage_records") == 1


async def test_with_fsync_the_slot_is_on_the_disk_first(
    owner: asyncpg.Connection,
    empty_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened(empty_database, tmp_path, fsync=True) as ledger:
        flushed: list[int] = []
        flush = ledger._slots.flush

        def noting(slot: int) -> None:
            flush(slot)
            flushed.append(slot)

        monkeypatch.setattr(ledger._slots, "flush", noting)
        await ask(ledger)
        assert len(flushed) == 1


async def test_a_record_that_postgresql_refuses_does_not_hold_up_the_others(
    owner: asyncpg.Connection, empty_database: str, tmp_path: Path
) -> None:
    async with opened(empty_database, tmp_path) as ledger:
        await owner.execute("ALTER TABLE usage_records ADD CHECK (model <> 'bad')")
        bad = Charge(scope_of("acme", "app"), Asked("chat", "bad"))
        ledger.open(bad)
        bad.end()
        await ledger.close(bad)
        await asyncio.gather(*(ask(ledger) for _ in range(5)))
        await until_there_are(owner, 5)
    assert bad.id in (tmp_path / "journal" / "refused.ndjson").read_text()


async def test_what_is_no_record_does_not_hold_up_the_others(
    owner: asyncpg.Connection, empty_database: str, tmp_path: Path
) -> None:
    kept = charge()
    kept.end()
    journal = open_journal(tmp_path / "journal", slots=16, max_bytes=1_000_000)
    journal.segments.append([b"no record", ended_record(kept, begun_text(kept)).text])
    journal.close()
    async with opened(empty_database, tmp_path):
        (row,) = await until_there_are(owner, 1)
    assert row["id"].hex == kept.id
    assert (tmp_path / "journal" / "refused.ndjson").read_text() == "no record\n"


async def test_days_that_are_over_are_kept_as_sums(
    owner: asyncpg.Connection, empty_database: str
) -> None:
    store = LedgerStore(empty_database, timedelta(days=30))
    for tenant, age_days in (("acme", 40), ("acme", 40), ("rival", 40), ("acme", 2)):
        asked = charge(tenant)
        asked.at -= age_days * 86_400
        asked.attempt("fake/x", "hosted").usage = TokenUsage(3, 2, 1)
        asked.end()
        await store.add([ended_record(asked, begun_text(asked))])
    assert await owner.fetchval("SELECT count(*) FROM usage_records") == 4
    await store.purge()
    await store.purge()
    await store.close()
    assert await owner.fetchval("SELECT count(*) FROM usage_records") == 1
    days = await owner.fetch("SELECT * FROM usage_days ORDER BY tenant")
    assert [(d["tenant"], d["requests"], d["prompt_tokens"], d["priced"]) for d in days] == [
        ("acme", 2, 6, 0),
        ("rival", 1, 3, 0),
    ]
