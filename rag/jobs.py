"""What is to be done in the background: jobs, and when they are due.

`enqueue` puts a job into the caller's transaction: it is there when what it is about is. A handler
does one; it may be called again for the same job, after a crash or a fault, so it must look at what
is left to do. `rag.job_queue` runs them.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from config.postgres import Connection

_ENQUEUE = "SELECT enqueue_job($1, $2::text::jsonb, $3, $4, $5)"


@dataclass(frozen=True, slots=True)
class Job:
    """What a handler is given: the tenant it works for ('' for none), and what was enqueued."""

    tenant: str
    payload: Mapping[str, Any]


Handler = Callable[[Job], Awaitable[None]]


class Postpone(Exception):
    """A handler raises it to be called again for the same job, `delay_s` seconds later."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(f"again in {delay_s:g} s")
        self.delay_s = delay_s


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job: who does it, and how many run at a time over all workers (0: any number)."""

    handler: Handler
    at_once: int


class Jobs:
    """The kinds of jobs a worker does, and their schedules.

    Attributes:
        kinds: By name.
        schedules: Cron expression and kind.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, Kind] = {}
        self.schedules: list[tuple[str, str]] = []

    def on(self, kind: str, handler: Handler, *, at_once: int = 0) -> None:
        """Have `handler` do jobs of a kind, `at_once` of them at a time over all workers."""
        self.kinds[kind] = Kind(handler, at_once)

    def schedule(self, cron: str, kind: str) -> None:
        """Enqueue a job of a kind, for no tenant, by a cron expression in UTC.

        None is added while one still waits or runs.
        """
        self.schedules.append((cron, kind))


async def enqueue(
    con: Connection,
    kind: str,
    payload: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    priority: int = 1,
    delay_s: float = 0,
) -> None:
    """Enqueue a job for the tenant of this transaction; it starts when that is committed.

    With a `key` none is added while another one with it waits or runs. Of several the one with the
    highest `priority` starts first; documents have 0.
    """
    text = json.dumps(payload or {})
    await con.execute(_ENQUEUE, kind, text, priority, key, timedelta(seconds=delay_s))
