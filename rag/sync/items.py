"""The documents of a source: which file stands for each, and which newer one is being read.

A file of ours goes out of its store in the transaction that makes its successor searchable, and
not before. All functions run inside a transaction of the tenant.
"""

from dataclasses import dataclass, replace

import asyncpg

from config.postgres import Connection, load_queries
from rag.lexicon import forget_document, lock_indexes

_SQL = load_queries("rag.sync", "items.sql")


@dataclass(frozen=True, slots=True)
class Place:
    """A source and its store."""

    store_id: str
    source_id: str


@dataclass(frozen=True, slots=True)
class Version:
    """A file that holds one version of a document.

    Attributes:
        file_id: Its id.
        sha256: Of its bytes.
        status: Where it stands in the store; None when somebody took it out.
        error_code: Why it failed.
    """

    file_id: str
    sha256: bytes
    status: str | None = "in_progress"
    error_code: str | None = None

    @property
    def is_worth_a_try(self) -> bool:
        """Tell whether it is not in the store and could be: reading it again may go well."""
        return self.status is None or (
            self.status == "failed" and self.error_code == "server_error"
        )


@dataclass(frozen=True, slots=True)
class Item:
    """A document: the version that is searched, and the next one while that is being read.

    `failure` says why it could not be fetched the last time.
    """

    key: str
    fingerprint: str
    current: Version | None = None
    next: Version | None = None
    failure: str | None = None

    @property
    def newest(self) -> Version | None:
        """Return the version that was fetched last."""
        return self.next or self.current


async def all_items(con: Connection, place: Place) -> dict[str, Item]:
    """Return the documents of a source by key."""
    rows = await con.fetch(_SQL["all"], place.source_id, place.store_id)
    return {row["key"]: _item(row) for row in rows}


async def put_version(
    con: Connection, place: Place, key: str, fingerprint: str, version: Version
) -> None:
    """Let a file that was just attached stand for a document.

    What is searched now stays until the new file has been read; what never was searched goes.
    """
    await lock_indexes(con, place.store_id)
    item = await _lock(con, place, key)
    current, dropped = version, [each for each in (item.current, item.next) if each]
    successor = None
    if item.current and item.current.status == "completed":
        current, successor = item.current, version
        dropped.remove(current)
    await _put(con, place, replace(item, fingerprint=fingerprint, current=current, next=successor))
    for each in dropped:
        await _drop(con, place, each.file_id)


async def keep_version(
    con: Connection, place: Place, key: str, fingerprint: str, sha256: bytes | None
) -> Version | None:
    """Record that a document is as one of its versions, and return that; None where it is as none.

    Without a hash it is as the newest. Where it is again as the one that is searched, the next one
    is dropped.
    """
    await lock_indexes(con, place.store_id)
    item = await _lock(con, place, key)
    if item.newest and sha256 in (None, item.newest.sha256):
        await _put(con, place, replace(item, fingerprint=fingerprint))
        return item.newest
    if item.next and item.current and item.current.sha256 == sha256:
        await _put(con, place, replace(item, fingerprint=fingerprint, next=None))
        await _drop(con, place, item.next.file_id)
        return item.current
    return None


async def fail_item(con: Connection, place: Place, key: str, reason: str) -> None:
    """Record why a document could not be fetched; what was fetched before stays."""
    await con.execute(_SQL["fail"], place.source_id, key, reason)


async def remove_item(con: Connection, place: Place, key: str) -> bool:
    """Take a document that is gone out of the store; tell whether there was one."""
    await lock_indexes(con, place.store_id)
    item = await _lock(con, place, key)
    await con.execute(_SQL["remove"], place.source_id, key)
    for version in (item.current, item.next):
        if version:
            await _drop(con, place, version.file_id)
    return item.newest is not None


async def remove_documents(con: Connection, place: Place) -> None:
    """Take everything that was read from a source out of its store."""
    for row in await con.fetch(_SQL["files"], place.source_id):
        if row["id"]:
            await _drop(con, place, row["id"])


async def take_place(con: Connection, store_id: str, file_id: str) -> None:
    """Put a file that has just been read in the place of the version it follows, if it does.

    Part of the transaction that makes it searchable, under the lock on the store's indexes.
    """
    former = await con.fetchval(_SQL["take_place"], file_id)
    if former is not None:
        await _drop(con, Place(store_id, ""), former)


async def _drop(con: Connection, place: Place, file_id: str) -> None:
    await forget_document(con, place.store_id, file_id)
    await con.execute(_SQL["delete_file"], file_id)


async def _lock(con: Connection, place: Place, key: str) -> Item:
    row = await con.fetchrow(_SQL["lock"], place.source_id, place.store_id, key)
    return _item(row) if row else Item(key, "")


async def _put(con: Connection, place: Place, item: Item) -> None:
    versions = [
        value
        for version in (item.current, item.next)
        for value in ((version.file_id, version.sha256) if version else (None, None))
    ]
    await con.execute(_SQL["put"], place.source_id, item.key, item.fingerprint, *versions)


def _item(row: asyncpg.Record) -> Item:
    current = next_ = None
    if row["file_id"]:
        current = Version(row["file_id"], row["sha256"], row["status"], row["error_code"])
    if row["next_file_id"]:
        fields = row["next_file_id"], row["next_sha256"], row["next_status"]
        next_ = Version(*fields, row["next_error_code"])
    return Item(row["key"], row["fingerprint"], current, next_, row["failure"])
