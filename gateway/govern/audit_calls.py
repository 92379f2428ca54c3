"""Calls in the audit log: what a usage record tells of one that an auditor asks for.

They are appended in the transaction that adds the usage records: a call whose record is kept is
audited, once, whatever is killed in between, and no answer waits for it.
"""

import datetime as dt
from collections.abc import Sequence

import msgspec

from config.postgres import Connection
from gateway.govern.audit import AuditEvent, actor_of, append
from gateway.govern.charge import ABSTAINED

_DONE = ("completed", ABSTAINED)


class CallAttempt(msgspec.Struct):
    """A target that was asked."""

    target: str


class Call(msgspec.Struct):
    """What is told of a call, of the fields of its `UsageRecord`."""

    tenant: str
    at: dt.datetime
    request_id: str
    client: str
    kind: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    ending: str
    key: str | None = None
    end_user: str = ""
    duration_ms: float | None = None
    attempts: list[CallAttempt] = []

    def event(self) -> AuditEvent:
        """Return the event of the call, at the time when it ended."""
        return AuditEvent(
            tenant=self.tenant,
            action=f"call.{self.kind}",
            outcome="done" if self.ending in _DONE else "failed",
            target={"model": self.model},
            actor=actor_of(self.client, self.key, self.end_user),
            detail={
                "request": self.request_id,
                "targets": [attempt.target for attempt in self.attempts],
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "ending": self.ending,
            },
            at_ms=int(self.at.timestamp() * 1000 + (self.duration_ms or 0)),
        )


_call_of = msgspec.json.Decoder(Call).decode


async def append_calls(con: Connection, key: bytes, tenant: str, records: Sequence[bytes]) -> None:
    """Append the calls of a tenant's usage records, as JSON, inside the tenant's transaction."""
    if records:
        await append(con, key, tenant, [_call_of(record).event() for record in records])
