"""Background responses: queued in PostgreSQL, worked on by whichever web worker has a hand free.

A worker leases a job and says again and again that it is alive; when it ends without a word, the
lease runs out and another worker takes over. What was streamed already can't be said a second time,
so such a response fails, and says so.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import msgspec

from config.postgres import UNREACHABLE, tenant_transaction
from config.scope import TenantScope
from config.settings import ResponseSettings
from config.tasks import end_task
from gateway.errors import InvalidRequest, Overloaded, Unavailable
from gateway.govern.charge import SERVER_SHUTDOWN, Exchange, begin_exchange
from gateway.govern.masking.policy import NOTHING_HIDDEN
from gateway.openai.response_items import Item
from gateway.openai.responses import Event, Response
from gateway.responses.events import StorableEvents
from gateway.responses.live import LiveResponse
from gateway.responses.run import Responder
from gateway.responses.store import SQL, ResponseStore, StoredResponse, encode, missing, owner_of
from gateway.responses.turn import Turn, resumed

_log = logging.getLogger(__name__)

_LEASE = timedelta(seconds=15)
_ALIVE_S = 1.0
_POLL_S = 1.0
_FLUSH_S = 0.2
_PURGE_S = 60.0
_MOST_ATTEMPTS = 3
_FIRST = 2
"""Number of the first event that a worker tells: `created` and `queued` come before."""
_PURGES = ("purge_events", "purge_responses", "purge_turns", "purge_sessions")


@dataclass(frozen=True, slots=True)
class _Job:
    scope: TenantScope
    turn: Turn
    attempts: int


class Background:
    """The queue of one process, and its share of the work.

    `jobs` is a pool that works as `naru_jobs`, which sees of other tenants what waits.
    """

    def __init__(
        self,
        store: ResponseStore,
        responder: Responder,
        jobs: asyncpg.Pool,
        settings: ResponseSettings,
    ) -> None:
        self._store = store
        self._responder = responder
        self._jobs = jobs
        self._settings = settings
        self._wake = asyncio.Event()
        self._taking = True
        self._ending = False
        self._working: dict[str, asyncio.Task[None]] = {}

    async def enqueue(self, scope: TenantScope, turn: Turn, body: Mapping[str, Any]) -> Response:
        """Store a response that waits; `body` is the request it answers.

        Raises:
            Overloaded: Too many of the tenant wait already.
            NotFound: What it builds on, or its model, is not there for the caller.
        """
        policy = await self._responder.check(scope, turn)
        response = turn.response
        # Until it is answered only: what is kept of a response may say less.
        request = {"body": body, "local_only": turn.local_only, "items": turn.items}
        storable = StorableEvents(self._store.masking, policy)
        queued = [event for each in _queued(response) for event in await storable.take(each)]
        async with tenant_transaction(self._store.pool, scope.tenant) as con:
            if await con.fetchval(SQL["count_jobs"], scope.tenant) >= self._settings.max_queued:
                message = "too many background responses wait already: try again later"
                headers = {"retry-after": "5"}
                raise Overloaded(message, code="background_queue_full", headers=headers)
            await self._store.insert(con, scope, response, turn.items, policy)
            await con.execute(SQL["add_job"], response.id, _conversation_of(scope, turn))
            await con.execute(SQL["add_request"], response.id, encode(scope), encode(request))
            if turn.asked.stream:
                await self._store.add_events(con, response.id, queued)
        self._wake.set()
        return response

    async def cancel(self, scope: TenantScope, response_id: str) -> StoredResponse:
        """End a background response; one that has ended stays as it is.

        What it had said is told where the worker is of this process; another one stores it when it
        hears of the end.

        Raises:
            NotFound: Unknown, or another's, or over its time.
            InvalidRequest: It is none of the background.
        """
        async with tenant_transaction(self._store.pool, scope.tenant) as con:
            row = await con.fetchrow(SQL["lock_unfinished"], *owner_of(scope), response_id)
            if row is None:
                raise missing()
            stored = StoredResponse(row["status"], row["body"].encode())
            response = stored.decoded()
            if not response.background:
                message = "only a response of the background can be cancelled; close the stream"
                raise InvalidRequest(message, param="response_id", code="not_in_background")
            if stored.ended:
                return stored
            response.status = "cancelled"
            # What is stored was masked when it was.
            await self._store.end_job(con, response, NOTHING_HIDDEN)
        if task := self._working.get(response_id):
            task.cancel()
            await asyncio.wait([task], timeout=_ALIVE_S)
        return await self._store.find(scope, response_id)

    @property
    def busy(self) -> bool:
        """Whether something is worked on."""
        return bool(self._working)

    def drain(self) -> None:
        """Leave what waits to other workers."""
        self._taking = False

    async def run(self) -> None:
        """Work until cancelled; what is under way then is left to another worker."""
        purging = asyncio.create_task(self._repeat(self._purge, _PURGE_S))
        try:
            await self._repeat(self._take_jobs, _POLL_S)
        finally:
            self._ending = True
            for task in [purging, *self._working.values()]:
                await end_task(task)

    async def _repeat(self, work: Callable[[], Any], pause_s: float) -> None:
        while True:
            try:
                await work()
            except UNREACHABLE as error:
                _log.warning("background responses wait: %s", type(error).__name__)
            except Exception as error:  # noqa: BLE001 - one bad row must not stop the others
                _log.error("a fault of ours in the background: %s", type(error).__name__)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            self._wake.clear()

    async def _purge(self) -> None:
        for statement in _PURGES:
            await self._jobs.execute(SQL[statement])

    async def _take_jobs(self) -> None:
        free = self._settings.max_background - len(self._working) if self._taking else 0
        rows = await self._jobs.fetch(SQL["waiting"], free) if free > 0 else []
        for row in rows:
            if job := await self._claim(row["tenant"], row["response"]):
                task = asyncio.create_task(self._work(job))
                self._working[row["response"]] = task
                task.add_done_callback(partial(self._done, row["response"]))

    def _done(self, response_id: str, _: "asyncio.Task[None]") -> None:
        self._working.pop(response_id, None)
        self._wake.set()

    async def _claim(self, tenant: str, response_id: str) -> _Job | None:
        async with tenant_transaction(self._store.pool, tenant) as con:
            row = await con.fetchrow(SQL["claim"], response_id, _LEASE)
        if row is None:
            return None
        scope = msgspec.json.decode(row["caller"], type=TenantScope)
        stored = msgspec.json.decode(row["body"], type=Response)
        request = msgspec.json.decode(row["request"])
        items = msgspec.convert(request["items"], list[Item])
        turn = resumed(request, stored, items)
        return _Job(scope, turn, row["attempts"])

    async def _work(self, job: _Job) -> None:
        """Answer, and say meanwhile that somebody does."""
        exchange = Exchange(job.turn.response.id, left="cancelled")
        begin_exchange(exchange)
        answering = asyncio.create_task(self._answer(job))
        living = asyncio.create_task(self._stay_alive(job))
        try:
            await asyncio.wait({answering, living}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._ending:
                exchange.left = SERVER_SHUTDOWN
            await end_task(living)
            unfinished = not answering.done()
            await end_task(answering)
            if unfinished:
                await self._release(job)
            elif not answering.cancelled() and (error := answering.exception()):
                # The lease runs out, and somebody tries again.
                _log.warning("a background response waits: %s", type(error).__name__)

    async def _stay_alive(self, job: _Job) -> None:
        """Return when the job is nobody's any more: cancelled or deleted."""
        while True:
            await asyncio.sleep(_ALIVE_S)
            with suppress(*UNREACHABLE):
                async with tenant_transaction(self._store.pool, job.scope.tenant) as con:
                    found = await con.fetchval(SQL["renew"], job.turn.response.id, _LEASE)
                if found is None:
                    return

    async def _release(self, job: _Job) -> None:
        with suppress(*UNREACHABLE):
            async with tenant_transaction(self._store.pool, job.scope.tenant) as con:
                await con.execute(SQL["release"], job.turn.response.id)

    async def _answer(self, job: _Job) -> None:
        turn = job.turn
        again = job.attempts > (1 if turn.asked.stream else _MOST_ATTEMPTS)
        try:
            if again:
                message = "the process that worked on it ended: ask again"
                raise Unavailable(message, code="interrupted")  # noqa: TRY301
            await self._begin(job)
            live = await self._responder.stream(job.scope, turn, sequence=_FIRST)
        except Exception as error:  # noqa: BLE001 - whoever asks for it is told
            sequence = _FIRST if turn.asked.stream and not again else await self._next(job)
            await self._responder.fail(job.scope, turn, error, sequence=sequence)
            return
        await self._relay(job, live)

    async def _begin(self, job: _Job) -> None:
        job.turn.response.status = "in_progress"
        policy = await self._responder.policy(job.scope, job.turn)
        async with tenant_transaction(self._store.pool, job.scope.tenant) as con:
            await self._store.set_state(con, job.turn.response, policy)

    async def _next(self, job: _Job) -> int:
        """Return the number behind the events that are kept."""
        _, events = await self._store.read_events(job.scope, job.turn.response.id, -1)
        return events[-1]["sequence_number"] + 1 if events else _FIRST

    async def _relay(self, job: _Job, live: LiveResponse) -> None:
        """Store events as they come, some at a time; the last ones are stored with the end."""
        flushing = asyncio.create_task(self._flush_often(job, live))
        try:
            async for _ in live.events:
                pass
        finally:
            await end_task(flushing)
            await live.events.aclose()

    async def _flush_often(self, job: _Job, live: LiveResponse) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            async with live.storing, tenant_transaction(self._store.pool, job.scope.tenant) as con:
                await self._store.add_events(con, job.turn.response.id, live.take_unkept())


def _conversation_of(scope: TenantScope, turn: Turn) -> bytes | None:
    """Return by what jobs of one conversation know each other: it tells nobody whose it is."""
    conversation = turn.asked.conversation_id
    if not conversation:
        return None
    return hashlib.sha256(encode((*owner_of(scope), conversation)).encode()).digest()


def _queued(response: Response) -> list[Event]:
    """Return the events of a response that waits."""
    told = msgspec.to_builtins(response)
    return [
        {"type": f"response.{what}", "sequence_number": number, "response": told}
        for number, what in enumerate(("created", "queued"))
    ]
