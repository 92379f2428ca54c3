"""Runs jobs, with PgQueuer: PostgreSQL holds them, NOTIFY wakes, heartbeats tell who has crashed.

Imported in the job worker alone: the library brings more than a web worker should load.
"""

import asyncio
import functools
import json
import logging
import traceback
import uuid
from datetime import timedelta

import asyncpg
from pgqueuer import AsyncpgDriver, PgQueuer, Queries
from pgqueuer.adapters.persistence import qb
from pgqueuer.domain.errors import FailingListenerError, RetryRequested
from pgqueuer.domain.models import Job as QueuedJob
from pgqueuer.domain.models import Schedule
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel, QueueManagerId
from pgqueuer.ports.driver import Driver

from config.postgres import UNREACHABLE, Connection, load_queries
from config.tasks import end_task
from rag.jobs import Handler, Job, Jobs, Postpone

_SQL = load_queries("rag", "job_queue.sql")
_log = logging.getLogger(__name__)

_AT_ONCE = 8
_MAX_FAILURES = 5
_HEARTBEAT_S = 10.0
"""A job whose worker was not heard of for as long is taken over by another."""
_POLL_S = 2.0  # for what no notification says: that a job is to be tried again
_BUSY_POLL_S = 0.5
_END_S = 10.0
_PAUSE_S = 1.0  # after PostgreSQL or a handler failed, doubling for the handler

# Every name: the library would take them from variables such as CHANNEL in the environment.
_NAMES = DBSettings(
    prefix="",
    db_schema=None,
    channel=Channel("ch_pgqueuer"),
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
    durability=Durability.balanced,
)


def queries(con: Connection) -> Queries:
    """Return the library's statements, to be run on a connection."""
    return Queries(
        AsyncpgDriver(con),  # type: ignore[arg-type]  # a pool's proxy does as well
        qbe=qb.QueryBuilderEnvironment(_NAMES),
        qbq=qb.QueryQueueBuilder(_NAMES),
        qbs=qb.QuerySchedulerBuilder(_NAMES),
    )


async def run(pool: asyncpg.Pool, jobs: Jobs, stop: asyncio.Event) -> None:
    """Do jobs until `stop` is set; those under way are then given back, for whoever comes next.

    Needs one of the pool's connections, which work as `naru_jobs`, beside what the handlers take.
    """
    worker = _Worker(jobs)
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            try:
                async with pool.acquire(timeout=10) as con:
                    await worker.run(con, stopping)
            except UNREACHABLE as error:
                _log.warning("jobs wait for PostgreSQL: %s", type(error).__name__)
                await asyncio.wait([stopping], timeout=_PAUSE_S)
    finally:
        await end_task(stopping)


class _Worker:
    """One process's part in the queue."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._id = QueueManagerId(uuid.uuid4())
        self._under_way: set[asyncio.Task[None]] = set()
        self._ending = False

    async def run(self, con: Connection, stopping: "asyncio.Task[bool]") -> None:
        """Do jobs until `stopping` is done, or the connection is lost."""
        self._ending = False
        await con.execute(_SQL["take_back"], self._id)
        queue = self._queue(con)
        lost = asyncio.Event()

        def on_lost(_: object) -> None:
            lost.set()

        con.add_termination_listener(on_lost)
        losing = asyncio.create_task(lost.wait())
        running = asyncio.create_task(self._run_queue(queue))
        try:
            await asyncio.wait([running, stopping, losing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            queue.shutdown.set()
            await self._end(running)
            await end_task(losing)
            con.remove_termination_listener(on_lost)
            # Its listeners with it; to ask a server that is going away for that can take a minute.
            con.terminate()
        if not running.cancelled() and (error := running.exception()):
            raise _lost_or(error)

    def _queue(self, con: Connection) -> PgQueuer:
        statements = queries(con)
        queue = PgQueuer(statements.driver, channel=_NAMES.channel, queries=statements)
        queue.qm.queue_manager_id = self._id
        # While more waits than may run: a job that ends is told.
        queue.qm.min_dequeue_poll_interval = timedelta(seconds=_BUSY_POLL_S)
        for name, kind in self._jobs.kinds.items():
            register = queue.entrypoint(name, concurrency_limit=kind.at_once, accepts_context=False)
            register(functools.partial(self._do, name, kind.handler))
        for cron, name in self._jobs.schedules:
            due = functools.partial(_enqueue_due, queue.connection, name)
            queue.schedule(name, cron, accepts_context=False)(due)
        return queue

    async def _run_queue(self, queue: PgQueuer) -> None:
        await queue.run(
            dequeue_timeout=timedelta(seconds=_POLL_S),
            batch_size=1,
            max_concurrent_tasks=_AT_ONCE,
            heartbeat_timeout=timedelta(seconds=_HEARTBEAT_S),
            log_aggregation_interval=timedelta(0),
            shutdown_on_listener_failure=True,
        )

    async def _end(self, running: "asyncio.Task[None]") -> None:
        """Give back the jobs under way, and wait until the queue has written that."""
        self._ending = True
        for task in list(self._under_way):
            await end_task(task)
        await asyncio.wait([running], timeout=_END_S)
        await end_task(running)

    async def _do(self, kind: str, handler: Handler, queued: QueuedJob) -> None:
        """Do one job.

        Nothing but the wish to have it done again gets out: the library logs and keeps what an
        error says, which may be what a document says.
        """
        if self._ending:
            raise RetryRequested
        found = json.loads(queued.payload or b"{}")
        task = asyncio.ensure_future(handler(Job(found["tenant"], found["payload"])))
        self._under_way.add(task)
        try:
            await asyncio.wait([task])
        finally:
            await end_task(task)
            self._under_way.discard(task)
        if task.cancelled():
            raise RetryRequested
        if (error := task.exception()) is not None:
            _try_again(kind, queued.attempts, error)


def _try_again(kind: str, failures: int, error: BaseException) -> None:
    """Have the job done again after an error, unless that was tried often enough.

    Raises:
        RetryRequested: It shall be.
    """
    if isinstance(error, Postpone):
        raise RetryRequested(timedelta(seconds=error.delay_s))
    if isinstance(error, UNREACHABLE):
        _log.warning("a job %s waits for PostgreSQL: %s", kind, type(error).__name__)
        raise RetryRequested(timedelta(seconds=_PAUSE_S))
    # Neither the message nor the values: they may hold what a document says.
    frames = traceback.extract_tb(error.__traceback__)
    where = [each for each in frames if "site-packages" not in each.filename][-1]
    fault = f"{type(error).__name__} at {where.name}:{where.lineno}"
    if failures < _MAX_FAILURES:
        _log.error("a fault of ours in a job %s: %s", kind, fault)
        raise RetryRequested(timedelta(seconds=_PAUSE_S * 2**failures))
    _log.error("a job %s is given up: %s", kind, fault)


async def _enqueue_due(driver: Driver, kind: str, _: Schedule) -> None:
    await driver.execute(_SQL["enqueue_due"], kind)


def _lost_or(error: BaseException) -> BaseException:
    """Return an error of the queue, as one of `UNREACHABLE` where it says that."""
    return ConnectionError(str(error)) if isinstance(error, FailingListenerError) else error
