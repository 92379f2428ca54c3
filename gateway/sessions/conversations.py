"""Conversations: the same sessions, item by item as the Responses API sees them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import asyncpg
import msgspec

from config.masking import MaskingSettings
from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.errors import NotFound
from gateway.govern.masking.masking import Masking
from gateway.govern.masking.policy import Policy
from gateway.openai.references import Reference, file_citations
from gateway.openai.response_items import InputText, Item, Message, OutputText, new_item_id
from gateway.sessions.store import delete_session, finish_unkept, owner_of
from rag.paging import Order

_SQL = load_queries("gateway.sessions", "conversations.sql")

_decode = msgspec.json.Decoder(Item).decode
_decode_items = msgspec.json.Decoder(list[Item]).decode


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session without its items; `created_at` is in seconds since 1970."""

    id: str
    created_at: int
    metadata: dict[str, str]


class Conversations:
    """The repository of one process; `kept` is how long one stays after its last turn."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        kept: timedelta | None = None,
        *,
        masking: Masking | None = None,
    ) -> None:
        self._masking = masking or Masking(MaskingSettings())
        self._pool = pool
        self._kept = kept

    async def create(
        self, scope: TenantScope, metadata: dict[str, str], items: Sequence[Item]
    ) -> Conversation:
        """Make a conversation that begins with these items."""
        owner = (*owner_of(scope), f"conv_{uuid.uuid4().hex}")
        policy = self._policy(scope)
        told = await self._masking.as_json(metadata, policy)
        async with tenant_transaction(self._pool, scope.tenant) as con:
            row = await con.fetchrow(_SQL["insert"], *owner, told, self._kept)
            await _add(con, owner, await self._storable(renamed(items), policy))
        return _conversation(row)

    async def find(self, scope: TenantScope, conversation_id: str) -> Conversation:
        """Return one conversation.

        Raises:
            NotFound: Unknown, or another's.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            return await _find(con, (*owner_of(scope), conversation_id))

    async def set_metadata(
        self, scope: TenantScope, conversation_id: str, metadata: dict[str, str]
    ) -> Conversation:
        """Put this metadata in place of what was there.

        Raises:
            NotFound: Unknown, or another's.
        """
        told = await self._masking.as_json(metadata, self._policy(scope))
        owner = (*owner_of(scope), conversation_id)
        async with tenant_transaction(self._pool, scope.tenant) as con:
            row = await con.fetchrow(_SQL["set_metadata"], *owner, told)
        return _conversation(row)

    async def delete(self, scope: TenantScope, conversation_id: str) -> None:
        """Delete a conversation with its items.

        Raises:
            NotFound: Unknown, or another's.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            if not await delete_session(con, (*owner_of(scope), conversation_id)):
                raise _missing()

    async def add(
        self, scope: TenantScope, conversation_id: str, items: Sequence[Item]
    ) -> list[Item]:
        """Add items, and return them under their new ids, as they are stored.

        Raises:
            NotFound: Unknown, or another's.
        """
        added = await self._storable(renamed(items), self._policy(scope))
        owner = (*owner_of(scope), conversation_id)
        async with tenant_transaction(self._pool, scope.tenant) as con:
            if await con.fetchval(_SQL["touch"], *owner, self._kept) is None:
                raise _missing()
            await _add(con, owner, added)
        return added

    async def page(
        self,
        scope: TenantScope,
        conversation_id: str,
        *,
        limit: int,
        after: str | None = None,
        order: Order = "asc",
    ) -> list[Item]:
        """Return up to `limit` items in their order, those behind the item `after`.

        Raises:
            NotFound: There is no such conversation of the caller, or no such item in it.
        """
        owner = (*owner_of(scope), conversation_id)
        query = _SQL["items_oldest_first" if order == "asc" else "items_newest_first"]
        async with tenant_transaction(self._pool, scope.tenant) as con:
            await _find(con, owner)
            last = (await _row(con, "item", owner, after))["ordinal"] if after else None
            return [_item(row) for row in await con.fetch(query, *owner, last, limit)]

    async def item(self, scope: TenantScope, conversation_id: str, item_id: str) -> Item:
        """Return one item.

        Raises:
            NotFound: There is no such conversation of the caller, or no such item in it.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            return _item(await _row(con, "item", (*owner_of(scope), conversation_id), item_id))

    async def remove(self, scope: TenantScope, conversation_id: str, item_id: str) -> Conversation:
        """Take an item out.

        Raises:
            NotFound: There is no such conversation of the caller, or no such item in it.
        """
        owner = (*owner_of(scope), conversation_id)
        async with tenant_transaction(self._pool, scope.tenant) as con:
            found = await _find(con, owner)
            await _row(con, "remove_item", owner, item_id)
        return found

    async def end_turn(
        self, con: Connection, scope: TenantScope, conversation_id: str, message_id: str
    ) -> bool:
        """End the turn that holds a conversation, in the caller's transaction, which may add to it.

        False where it holds it no more: deleted meanwhile, or its process was thought dead.
        """
        owner = (*owner_of(scope), conversation_id)
        # In the order of who deletes it, so that neither waits for the other.
        found = await con.fetchval(_SQL["touch"], *owner, self._kept) is not None
        return found and await finish_unkept(con, message_id)

    async def add_turn(
        self,
        con: Connection,
        scope: TenantScope,
        conversation_id: str,
        items: Sequence[Item],
        policy: Policy,
        *,
        model: str,
    ) -> None:
        """Add a model's turn, which `end_turn` let in, in the same transaction."""
        owner = (*owner_of(scope), conversation_id)
        await _add(con, owner, await self._storable(items, policy), model)

    def _policy(self, scope: TenantScope) -> Policy:
        return self._masking.policies.at("storage", tenant=scope.tenant)

    async def _storable(self, items: Sequence[Item], policy: Policy) -> list[Item]:
        """Return the items as the policy lets them be stored."""
        if policy.allows_all:
            return list(items)
        return _decode_items(await self._masking.as_json(items, policy))


def renamed(items: Sequence[Item]) -> list[Item]:
    """Return the items under new ids: a caller's own could be anybody's."""
    return [msgspec.structs.replace(item, id=new_item_id(item)) for item in items]


async def _add(
    con: Connection, owner: tuple[str, str, str, str], items: Sequence[Item], model: str = ""
) -> None:
    await con.executemany(_SQL["add_item"], [(*owner, *_values(item, model)) for item in items])


def _values(item: Item, model: str) -> tuple[str | None, ...]:
    role, text = (item.role, item.text) if isinstance(item, Message) else (None, "")
    status = "complete" if item.status == "completed" else "partial"
    said = model if role == "assistant" else None
    return item.id, role, text, status, said, msgspec.json.encode(item).decode()


async def _find(con: Connection, owner: tuple[str, str, str, str]) -> Conversation:
    return _conversation(await con.fetchrow(_SQL["find"], *owner))


async def _row(
    con: Connection, statement: str, owner: tuple[str, str, str, str], item_id: str
) -> asyncpg.Record:
    row = await con.fetchrow(_SQL[statement], *owner, item_id)
    if row is None:
        raise NotFound("no such item in a conversation of yours", code="item_not_found")
    return row


def _conversation(row: asyncpg.Record | None) -> Conversation:
    if row is None:
        raise _missing()
    metadata = msgspec.json.decode(row["metadata"], type=dict[str, str])
    return Conversation(row["id"], row["created_at"], metadata)


def _missing() -> NotFound:
    return NotFound("no such conversation of yours", code="conversation_not_found")


def _item(row: asyncpg.Record) -> Item:
    """Return the item of a row; what an agent stored is a text with its references."""
    if row["item"] is not None:
        item: Item = _decode(row["item"])
        return item
    status: Literal["completed", "incomplete"]
    status = "completed" if row["status"] == "complete" else "incomplete"
    text = row["content"]
    if row["role"] != "assistant":
        return Message(row["role"], [InputText(text)], row["id"], status)
    references = msgspec.json.decode(row["citations"], type=list[Reference])
    said = OutputText(text, file_citations(text, references), [])
    return Message("assistant", [said], row["id"], status)
