"""A store that is kept in step with a source, and a folder to put documents into."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
from support import scope_of

import rag
from config.postgres import tenant_transaction
from config.sync import SyncSettings
from rag import sync
from rag.lexicon import lock_indexes

LONG_AGO = 1_600_000_000


@dataclass
class Kept:
    """A store that is kept in step, as a test looks at it."""

    pool: asyncpg.Pool
    store: str
    settings: SyncSettings
    max_file_bytes: int = 1_000_000

    def but(self, **settings: Any) -> "Kept":
        """The same with other settings."""
        found = SyncSettings.model_validate(self.settings.model_dump() | settings)
        return replace(self, settings=found)

    async def add(self, origin: sync.Origin, schedule: sync.Schedule | None = None) -> str:
        source = await sync.create_source(
            self.pool, scope_of(), self.store, origin, settings=self.settings, schedule=schedule
        )
        return source.id

    async def get(self, source: str) -> sync.Source:
        return await sync.get_source(self.pool, scope_of(), self.store, source)

    async def run(self, source: str) -> sync.Run:
        limits = sync.Limits(self.settings, self.max_file_bytes)
        await sync.sync_source(self.pool, "acme", source, limits)
        run = (await self.get(source)).last_run
        assert run is not None
        return run

    async def read(self, *, status: str = "completed") -> None:
        """Have every file that waits be read, as the job worker does it."""
        async with tenant_transaction(self.pool, "acme") as con:
            await lock_indexes(con, self.store)
            for row in await con.fetch(
                "UPDATE store_files SET status = $2 WHERE store_id = $1"
                " AND status = 'in_progress' RETURNING file_id",
                *(self.store, status),
            ):
                if status == "completed":
                    await sync.take_place(con, self.store, row["file_id"])

    async def contents(self, status: str = "%") -> dict[str, bytes]:
        """What the store holds, by key; every file is there once."""
        async with tenant_transaction(self.pool, "acme") as con:
            rows = await con.fetch(
                "SELECT attributes::text, (SELECT coalesce(string_agg(content, '' ORDER BY part),"
                " '') FROM file_parts p WHERE p.file_id = s.file_id) AS content"
                " FROM store_files s WHERE store_id = $1 AND status LIKE $2",
                *(self.store, status),
            )
        found = {json.loads(row["attributes"])["key"]: row["content"] for row in rows}
        assert len(found) == len(rows), "a document is there twice"
        return found

    async def newest(self, source: str) -> dict[str, bytes]:
        """The newest version of each document of a source, whether it has been read or not.

        There are no other files than those that the source knows of, in the store or beside it.
        """
        async with tenant_transaction(self.pool, "acme") as con:
            rows = await con.fetch(
                "SELECT key, (SELECT coalesce(string_agg(content, '' ORDER BY part), '')"
                " FROM file_parts p WHERE p.file_id = coalesce(next_file_id, i.file_id)) AS content"
                " FROM source_items i WHERE source_id = $1 AND file_id IS NOT NULL",
                source,
            )
            versions = await con.fetchval(
                "SELECT count(file_id) + count(next_file_id) FROM source_items"
                " WHERE source_id = $1",
                source,
            )
            attached = "SELECT count(*) FROM store_files WHERE store_id = $1"
            assert await con.fetchval(attached, self.store) == versions
        return {row["key"]: row["content"] for row in rows}

    async def searchable(self) -> dict[str, bytes]:
        return await self.contents("completed")

    async def files(self) -> int:
        """How many files there are in all, in stores or not."""
        return len(await rag.list_files(self.pool, scope_of()))


class Folder:
    """A folder that documents are put into."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, content: str, *, age: int = 0) -> None:
        """Write a file; its time stamps are old enough to be trusted where `age` says so."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        if age:
            os.utime(path, (LONG_AGO + age, LONG_AGO + age))

    def take(self, key: str) -> None:
        (self.root / key).unlink()
