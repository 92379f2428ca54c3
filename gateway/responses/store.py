"""Responses in PostgreSQL: they belong to tenant, client and end user, like sessions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import msgspec

from config.masking import MaskingSettings
from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from config.settings import ResponseSettings
from gateway.errors import InvalidRequest, NotFound
from gateway.govern.masking.masking import Masking
from gateway.govern.masking.policy import Policy
from gateway.openai.response_items import Item
from gateway.openai.responses import ENDED, Event, Response, ResponseStatus

SQL = load_queries("gateway.responses", "queries.sql")
_LONGEST_CHAIN = 1000

_decode_items = msgspec.json.Decoder(list[Item]).decode
_decode_events = msgspec.json.Decoder(list[Event]).decode


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response as it was told last; `body` is the answer of a GET."""

    status: ResponseStatus
    body: bytes

    @property
    def ended(self) -> bool:
        """Tell whether it changes no more."""
        return self.status in ENDED

    def decoded(self) -> Response:
        """Return the response itself."""
        return msgspec.json.decode(self.body, type=Response)


class ResponseStore:
    """The repository of one process."""

    def __init__(
        self, pool: asyncpg.Pool, settings: ResponseSettings, masking: Masking | None = None
    ) -> None:
        self.pool = pool
        self.masking = masking or Masking(MaskingSettings())
        self._kept = timedelta(days=settings.retention_days)
        self._events_kept = timedelta(seconds=settings.events_kept_s)

    async def find(self, scope: TenantScope, response_id: str) -> StoredResponse:
        """Return one response.

        Raises:
            NotFound: Unknown, or another's, or over its time.
        """
        async with tenant_transaction(self.pool, scope.tenant) as con:
            row = await con.fetchrow(SQL["find_response"], *owner_of(scope), response_id)
        if row is None:
            raise missing()
        return StoredResponse(row["status"], row["body"].encode())

    async def input_of(self, scope: TenantScope, response_id: str) -> list[Item]:
        """Return the items that went in, oldest first.

        Raises:
            NotFound: Unknown, or another's, or over its time.
        """
        async with tenant_transaction(self.pool, scope.tenant) as con:
            told = await con.fetchval(SQL["find_input"], *owner_of(scope), response_id)
        if told is None:
            raise missing()
        return _decode_items(told)

    async def delete(self, scope: TenantScope, response_id: str) -> None:
        """Delete a response; one that is under way ends.

        Raises:
            NotFound: Unknown, or another's, or over its time.
        """
        async with tenant_transaction(self.pool, scope.tenant) as con:
            if await con.fetchval(SQL["delete_response"], *owner_of(scope), response_id) is None:
                raise missing()

    async def chain(self, scope: TenantScope, response_id: str) -> list[Item]:
        """Return what was said up to the end of a response, oldest first; it is kept on.

        Raises:
            NotFound: The response, or one that it follows, is not there for the caller.
            InvalidRequest: It has not ended well, or follows too many.
        """
        owner = owner_of(scope)
        async with tenant_transaction(self.pool, scope.tenant) as con:
            rows = await con.fetch(SQL["chain"], *owner, response_id, _LONGEST_CHAIN + 1)
            _check_chain(rows)
            await con.execute(SQL["keep_chain"], [row["id"] for row in rows], self._kept)
        items: list[Item] = []
        for row in rows:
            items += [*_decode_items(row["input"]), *_decode_items(row["output"])]
        return items

    def policy(self, scope: TenantScope, model: str, agent: str = "") -> Policy:
        """Return what may be stored of what is asked of a model, or an agent, and answered."""
        return self.masking.policies.at("storage", tenant=scope.tenant, model=model, agent=agent)

    async def insert(
        self,
        con: Connection,
        scope: TenantScope,
        response: Response,
        items: Sequence[Item],
        policy: Policy,
    ) -> None:
        """Store a new response in the caller's transaction."""
        told, given = [await self.masking.as_json(each, policy) for each in (response, items)]
        await con.execute(
            SQL["insert_response"],
            *(*owner_of(scope), response.id, response.previous_response_id, response.status),
            *(told, given, self._kept),
        )

    async def set_state(self, con: Connection, response: Response, policy: Policy) -> bool:
        """Tell how a response stands, in the caller's transaction; False where it has ended."""
        told = await self.masking.as_json(response, policy)
        values = response.id, response.status, told
        return await con.fetchval(SQL["set_state"], *values) is not None

    async def end_job(self, con: Connection, response: Response, policy: Policy) -> bool:
        """Tell how a background response ended; False where it ended before, or is gone."""
        # In the order of who cancels or deletes it, so that neither waits for the other.
        ended = await self.set_state(con, response, policy)
        await con.execute(SQL["end_job"], response.id)
        return ended

    async def complete_cancelled(self, con: Connection, response: Response, policy: Policy) -> bool:
        """Add what a background response had said; False where it is not cancelled, or is gone."""
        told = await self.masking.as_json(response, policy)
        return await con.fetchval(SQL["complete_cancelled"], response.id, told) is not None

    async def add_events(self, con: Connection, response_id: str, events: Sequence[Event]) -> None:
        """Keep events for who comes back to the stream, as they may be stored already."""
        if events and self._events_kept:
            last = events[-1]["sequence_number"]
            values = response_id, last, encode(events), self._events_kept
            await con.execute(SQL["add_events"], *values)

    async def read_events(
        self, scope: TenantScope, response_id: str, after: int
    ) -> tuple[StoredResponse, list[Event]]:
        """Return how a response stands, and its events behind number `after`.

        Raises:
            NotFound: Unknown, or another's, or over its time.
        """
        async with tenant_transaction(self.pool, scope.tenant) as con:
            row = await con.fetchrow(SQL["find_response"], *owner_of(scope), response_id)
            if row is None:
                raise missing()
            rows = await con.fetch(SQL["read_events"], response_id, after)
        told = [event for each in rows for event in _decode_events(each["events"])]
        stored = StoredResponse(row["status"], row["body"].encode())
        return stored, [event for event in told if event["sequence_number"] > after]


def encode(value: object) -> str:
    """Return JSON for a statement."""
    return msgspec.json.encode(value).decode()


def owner_of(scope: TenantScope) -> tuple[str, str, str]:
    """Return whose a caller's responses are."""
    return scope.tenant, scope.client, scope.end_user


def missing() -> NotFound:
    """Return the error for a response that the caller does not have."""
    return NotFound("no such response of yours", code="response_not_found")


def _check_chain(rows: Sequence[asyncpg.Record]) -> None:
    param = "previous_response_id"
    if not rows:
        raise NotFound(
            "previous_response_id: no such response of yours",
            param=param,
            code="previous_response_not_found",
        )
    if len(rows) > _LONGEST_CHAIN:
        message = f"{param}: it follows over {_LONGEST_CHAIN} responses: begin anew"
        raise InvalidRequest(message, param=param, code="chain_too_long")
    if rows[0]["previous"] is not None:
        message = f"{param}: a response that it follows is gone: begin anew"
        raise NotFound(message, param=param, code="previous_response_not_found")
    for row in rows:
        if row["status"] not in ("completed", "incomplete"):
            message = f"{param}: a response that is {row['status']} can't be followed"
            raise InvalidRequest(message, param=param, code="previous_response_not_completed")
