"""Jobs are done when they are due: all of them, again after a fault, and for their own tenant."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from config.postgres import open_pool, tenant_transaction
from rag import job_queue
from rag.job_queue import queries, run
from rag.jobs import Job, Jobs, Postpone, enqueue


class Recorder:
    """A handler that fails as often as it is told."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.done: list[Job] = []

    async def __call__(self, job: Job) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.done.append(job)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.done) < count:
                await asyncio.sleep(0.01)


class Gated(Recorder):
    """A handler that does not end by itself before its gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Semaphore(0)
        self.under_way = 0
        self.most = 0
        self.gate = asyncio.Event()

    async def __call__(self, job: Job) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.started.release()
        try:
            await self.gate.wait()
            self.done.append(job)
        finally:
            self.under_way -= 1


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_queue, "_PAUSE_S", 0.01)


@pytest.fixture
async def jobs_pool(pool: asyncpg.Pool, empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    async with await open_pool(empty_database, size=3, role="naru_jobs") as opened:
        yield opened


@asynccontextmanager
async def worker(pool: asyncpg.Pool, jobs: Jobs) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run(pool, jobs, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


def jobs_of(kind: str, handler: Recorder, *, at_once: int = 0) -> Jobs:
    jobs = Jobs()
    jobs.on(kind, handler, at_once=at_once)
    return jobs


async def ask(pool: asyncpg.Pool, kind: str, *payloads: dict[str, int], tenant: str = "acme"):
    async with tenant_transaction(pool, tenant) as con:
        for payload in payloads:
            await enqueue(con, kind, payload)


async def left(owner: asyncpg.Connection) -> list[str]:
    rows = await owner.fetch("SELECT status::text FROM pgqueuer ORDER BY id")
    return [row["status"] for row in rows]


async def until_left(owner: asyncpg.Connection, statuses: list[str]) -> None:
    async with asyncio.timeout(30):
        while await left(owner) != statuses:
            await asyncio.sleep(0.01)


async def test_a_job_is_done_once_for_the_tenant_that_asked(
    pool: asyncpg.Pool, jobs_pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    handler = Recorder()
    async with worker(jobs_pool, jobs_of("count", handler)):
        await ask(pool, "count", {"n": 1})
        await ask(pool, "count", {"n": 2}, tenant="rival")
        await handler.until(2)
        await until_left(owner, [])
    assert sorted(handler.done, key=lambda job: job.tenant) == [
        Job("acme", {"n": 1}),
        Job("rival", {"n": 2}),
    ]


async def test_a_job_is_there_only_when_its_transaction_commits(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    async with tenant_transaction(pool, "acme") as con:
        await enqueue(con, "count", {})
        assert await left(owner) == []
    assert await left(owner) == ["queued"]


async def test_the_service_may_only_add_jobs_and_only_for_its_tenant(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    async with tenant_transaction(pool, "acme") as con:
        await enqueue(con, "count", {"tenant": "rival"})
    payload = json.loads(await owner.fetchval("SELECT payload FROM pgqueuer"))
    assert payload == {"tenant": "acme", "payload": {"tenant": "rival"}}
    for statement in (
        "SELECT id FROM pgqueuer",
        "DELETE FROM pgqueuer",
        "SELECT queue_job('count', 'rival', '{}', 1, NULL, interval '0')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with tenant_transaction(pool, "acme") as con:
                await con.execute(statement)


async def test_a_key_is_there_once_while_its_job_waits_or_runs(
    pool: asyncpg.Pool, jobs_pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    async def ask_with_key() -> None:
        async with tenant_transaction(pool, "acme") as con:
            await enqueue(con, "slow", key="the one")

    handler = Gated()
    await ask_with_key()
    await ask_with_key()
    assert await left(owner) == ["queued"]
    async with worker(jobs_pool, jobs_of("slow", handler)):
        await handler.started.acquire()
        await ask_with_key()
        assert await left(owner) == ["picked"]
        handler.gate.set()
        await until_left(owner, [])
        await ask_with_key()
        await handler.until(2)


async def test_the_highest_priority_goes_first(pool: asyncpg.Pool, jobs_pool: asyncpg.Pool) -> None:
    handler = Recorder()
    async with tenant_transaction(pool, "acme") as con:
        for priority in (0, 2, 1):
            await enqueue(con, "count", {"n": priority}, priority=priority)
    async with worker(jobs_pool, jobs_of("count", handler)):
        await handler.until(3)
    assert [job.payload["n"] for job in handler.done] == [2, 1, 0]


async def test_no_more_at_once_than_the_kind_allows_over_all_workers(
    pool: asyncpg.Pool, jobs_pool: asyncpg.Pool, empty_database: str
) -> None:
    handler = Gated()
    jobs = jobs_of("slow", handler, at_once=2)
    await ask(pool, "slow", *({"n": n} for n in range(6)))
    async with (
        await open_pool(empty_database, size=2, role="naru_jobs") as other,
        worker(jobs_pool, jobs),
        worker(other, jobs),
    ):
        for _ in range(2):
            await handler.started.acquire()
        handler.gate.set()
        await handler.until(6)
    assert handler.most == 2


async def test_a_fault_is_tried_again_and_given_up_at_last(
    pool: asyncpg.Pool,
    jobs_pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = Recorder(*[ValueError("what a document says")] * 6)
    async with worker(jobs_pool, jobs_of("count", handler)):
        await ask(pool, "count", {})
        async with asyncio.timeout(30):
            while handler.errors:
                await asyncio.sleep(0.01)
        await until_left(owner, [])
        await ask(pool, "count", {"n": 1})
        await handler.until(1)
    assert "given up: ValueError" in caplog.text
    logged = await owner.fetchval("SELECT string_agg(traceback::text, '') FROM pgqueuer_log")
    assert "what a document says" not in caplog.text + logged


async def test_a_job_can_be_postponed(pool: asyncpg.Pool, jobs_pool: asyncpg.Pool) -> None:
    handler = Recorder(*[Postpone(0.01)] * 10)
    async with worker(jobs_pool, jobs_of("count", handler)):
        await ask(pool, "count", {})
        await handler.until(1)
    assert not handler.errors


async def test_what_is_under_way_when_the_worker_stops_is_given_back(
    pool: asyncpg.Pool, jobs_pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    handler = Gated()
    jobs = jobs_of("slow", handler)
    async with worker(jobs_pool, jobs):
        await ask(pool, "slow", {"n": 1})
        await handler.started.acquire()
    assert await left(owner) == ["queued"]
    handler.gate.set()
    async with worker(jobs_pool, jobs):
        await handler.until(1)


async def test_jobs_go_on_when_postgresql_hangs_up(
    pool: asyncpg.Pool, jobs_pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    handler = Gated()
    async with worker(jobs_pool, jobs_of("slow", handler)):
        await ask(pool, "slow", {"n": 1})
        await handler.started.acquire()
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'naru'"
        )
        await handler.started.acquire()
        handler.gate.set()
        await until_left(owner, [])
    assert [job.payload for job in handler.done] == [{"n": 1}]


async def test_a_job_of_a_crashed_worker_is_taken_over(
    pool: asyncpg.Pool,
    jobs_pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_queue, "_HEARTBEAT_S", 0.5)
    monkeypatch.setattr(job_queue, "_POLL_S", 0.1)
    handler = Recorder()
    await ask(pool, "count", {"n": 1})
    await owner.execute(
        "UPDATE pgqueuer SET status = 'picked', queue_manager_id = gen_random_uuid()"
    )
    async with worker(jobs_pool, jobs_of("count", handler)):
        await handler.until(1)
        await until_left(owner, [])


async def test_a_schedule_enqueues_for_no_tenant(jobs_pool: asyncpg.Pool) -> None:
    handler = Recorder()
    jobs = jobs_of("tick", handler)
    jobs.schedule("* * * * * *", "tick")
    async with worker(jobs_pool, jobs):
        await handler.until(2)
    assert {job.tenant for job in handler.done} == {""}


async def test_the_migration_is_what_this_release_of_the_library_needs(
    owner: asyncpg.Connection,
) -> None:
    plan = await queries(owner).plan_upgrade()
    assert (plan.statements, plan.notes) == ((), ())


def test_names_of_the_library_are_not_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = "from rag.job_queue import _NAMES; print(_NAMES.channel, _NAMES.queue_table)"
    monkeypatch.setenv("CHANNEL", "other")
    monkeypatch.setenv("PGQUEUER_QUEUE_TABLE", "other")
    argv = [sys.executable, "-c", source]
    found = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["ch_pgqueuer", "pgqueuer"]
