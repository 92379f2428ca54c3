"""What a run writes: each document in one transaction, so that nothing is left half done."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import asyncpg

from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from rag.attach import NewFile, attach
from rag.files import insert_file, receive_file
from rag.storage import IN_POSTGRES, Storage
from rag.stores import find_usable_store
from rag.sync.items import (
    Item,
    Place,
    Version,
    all_items,
    fail_item,
    keep_version,
    put_version,
    remove_item,
)
from rag.sync.reading import Fetched, NotFetched, Spool

_SQL = load_queries("rag.sync", "run.sql")
_MAX_ATTRIBUTE_CHARS = 512

Outcome = Literal["added", "changed", "unchanged", "removed", "failed"]


class Superseded(Exception):
    """The source was deleted, or another run of it has begun: this one may write no more."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The hand of one run, which writes nothing once another run of the source has begun.

    Every function raises Superseded then.
    """

    db: asyncpg.Pool
    scope: TenantScope
    place: Place
    run: int
    storage: Storage = IN_POSTGRES

    async def known(self) -> dict[str, Item]:
        """Return the documents that earlier runs have seen, by key.

        Raises:
            StoreExpired: The store was not used for too long: nothing is handed in any more.
        """
        async with self._transaction() as con:
            await find_usable_store(con, self.scope, self.place.store_id)
            return await all_items(con, self.place)

    async def keep(self, item: Item) -> Outcome:
        """Leave a document as it is, but for what went wrong before."""
        newest = item.newest
        if newest and item.failure is None and not newest.is_worth_a_try:
            return "unchanged"
        async with self._transaction() as con:
            kept = await keep_version(con, self.place, item.key, item.fingerprint, None)
            if kept is None:
                raise NotFetched("it was taken out while the source was read")
            await self._mend(con, item.key, kept)
        return "unchanged"

    async def put(self, item: Item, fetched: Fetched, spool: Spool) -> Outcome:
        """Hand in what was fetched of a document, unless a version of it is the same."""
        async with self._transaction() as con:
            kept = await keep_version(con, self.place, item.key, fetched.fingerprint, spool.sha256)
            if kept is not None:
                await self._mend(con, item.key, kept)
                same = item.newest is not None and kept.file_id == item.newest.file_id
                return "unchanged" if same else "changed"
        async with (
            receive_file(self.db, self.scope, spool.parts(), self.storage) as incoming,
            self._transaction() as con,
        ):
            file = await insert_file(
                con, self.scope, incoming, filename=fetched.filename, purpose="assistants"
            )
            await self._attach(con, item.key, file.id)
            version = Version(file.id, spool.sha256)
            await put_version(con, self.place, item.key, fetched.fingerprint, version)
        return "changed" if item.newest else "added"

    async def remove(self, key: str) -> Outcome | None:
        """Take out a document that is gone; None where it had never come."""
        async with self._transaction() as con:
            return "removed" if await remove_item(con, self.place, key) else None

    async def fail(self, key: str, reason: str) -> Outcome:
        """Record why a document could not be fetched."""
        async with self._transaction() as con:
            await fail_item(con, self.place, key, reason)
        return "failed"

    async def finish(self, *values: object) -> None:
        """Record how the run went: the parameters of `finish` behind the run's number."""
        async with self._transaction() as con:
            await con.execute(_SQL["finish"], self.place.source_id, self.run, *values)

    async def _mend(self, con: Connection, key: str, version: Version) -> None:
        """Have a version read again that is not in the store and could be."""
        if version.is_worth_a_try:
            await self._attach(con, key, version.file_id)

    async def _attach(self, con: Connection, key: str, file_id: str) -> None:
        attributes = {"source": self.place.source_id, "key": key[:_MAX_ATTRIBUTE_CHARS]}
        await attach(con, self.scope, self.place.store_id, [NewFile(file_id, attributes)])

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with tenant_transaction(self.db, self.scope.tenant) as con:
            if not await con.fetchval(_SQL["fence"], self.place.source_id, self.run):
                raise Superseded
            yield con
