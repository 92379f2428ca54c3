"""Reading a store again, with another model or chunking, beside the index that is searched.

What is asked for here is done by `rag.rebuild`, in the job worker.
"""

from typing import Literal

import asyncpg

from config.postgres import load_queries, tenant_transaction
from config.scope import TenantScope
from rag.attach import Chunking, chunking_json
from rag.embed import Embedder, Embedders
from rag.errors import NotFound, ReindexRefused
from rag.jobs import enqueue
from rag.lexicon import lock_indexes
from rag.stores import VectorStore, find_store, find_usable_store

_SQL = load_queries("rag", "reindex.sql")

JOB = "reindex"
"""The kind of job that builds an index."""


def job_key(index_id: int) -> str:
    """Return what keeps an index from being built twice at a time."""
    return f"{JOB}:{index_id}"


async def start_reindex(
    db: asyncpg.Pool,
    embedders: Embedders,
    scope: TenantScope,
    store_id: str,
    *,
    model: str | None = None,
    chunking: Chunking | Literal["auto"] | None = None,
) -> VectorStore:
    """Have a store read again; searches see its index until the new one takes its place at once.

    What is not given stays as it is; `auto` leaves the cutting to us. After a failure the same
    asked for again goes on where that was.

    Raises:
        NotFound: The caller has no such store.
        StoreExpired: The store was not used for too long.
        ReindexRefused: There is no such model, or the store is being read again already.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        store = await find_usable_store(con, scope, store_id)
        await lock_indexes(con, store.id)
        live = await con.fetchrow(_SQL["live_index"], store.id)
        if live is None:  # deleted since we looked
            raise NotFound("vector store", store_id)
        name, embedder = _choose(embedders, model, live["space"])
        cut = live["chunking"] if chunking is None else _column(chunking)
        if await con.fetchval(_SQL["is_building"], store.id):
            raise ReindexRefused(
                f"the vector store {store_id!r} is being read again already:"
                " wait until that is done, or cancel it",
                code="reindex_in_progress",
            )
        wanted = store.id, embedder.space, name, cut
        index_id = await con.fetchval(_SQL["resume"], *wanted)
        if index_id is None:
            await con.execute(_SQL["retire_built"], store.id)
            index_id = await con.fetchval(_SQL["insert"], *wanted)
        await enqueue(con, JOB, {"index": index_id}, key=job_key(index_id), priority=0)
        return await find_store(con, scope, store_id)


async def cancel_reindex(db: asyncpg.Pool, scope: TenantScope, store_id: str) -> VectorStore:
    """Give up what is being built, or has failed; nothing happens where there is none.

    Raises:
        NotFound: The caller has no such store.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        store = await find_store(con, scope, store_id)
        await lock_indexes(con, store.id)
        await con.execute(_SQL["retire_built"], store.id)
        return await find_store(con, scope, store_id)


def _choose(embedders: Embedders, model: str | None, space: str) -> tuple[str, Embedder]:
    """Return the model of this name; without one the live index's, else the default."""
    known = embedders.by_name
    if model is None:
        found = embedders.of(space) or embedders.default
        return next((name, each) for name, each in known.items() if each is found)
    if model not in known:
        raise ReindexRefused(
            f"there is no embedding model {model!r}: the settings have {', '.join(known)}",
            code="model_not_found",
            param="model",
        )
    return model, known[model]


def _column(chunking: Chunking | Literal["auto"]) -> str | None:
    return None if chunking == "auto" else chunking_json(chunking)
