"""In how many chunks of a store each term occurs: the statistics behind BM25.

They change in the transaction that changes the chunks, under a lock on the store's row, and are
counted from the stored term vectors themselves; so they are exact at every moment.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from config.postgres import Connection, load_queries

_SQL = load_queries("rag", "lexicon.sql")


@dataclass(frozen=True, slots=True)
class Statistics:
    """What BM25 must know of the searched stores.

    Attributes:
        chunks: How many there are.
        frequencies: Term -> in how many of them it occurs; terms of none are absent.
    """

    chunks: int
    frequencies: Mapping[int, int]


async def lock_store(connection: Connection, store_id: str) -> None:
    """Let nobody else change this store's chunks until the transaction ends."""
    await connection.execute(_SQL["lock_store"], store_id)


async def count_document(connection: Connection, store_id: str, file_id: str) -> None:
    """Count the terms of a document just written; the store is locked."""
    await connection.execute(_SQL["count_terms"], store_id, file_id)


async def forget_document(connection: Connection, store_id: str, file_id: str) -> None:
    """Remove a document and its counts from a store, whatever its status."""
    await lock_store(connection, store_id)
    await connection.execute(_SQL["uncount_terms"], store_id, file_id)
    await connection.execute(_SQL["drop_unused_terms"], store_id)
    await connection.execute(_SQL["remove_document"], store_id, file_id)


async def read_statistics(
    con: Connection, store_ids: Sequence[str], terms: Sequence[int]
) -> Statistics:
    """Return the statistics of these terms over all of the stores."""
    row = await con.fetchrow(_SQL["statistics"], store_ids, terms)
    assert row is not None  # noqa: S101 - two scalar subqueries are one row
    found = json.loads(row["frequencies"] or "{}")
    return Statistics(row["chunks"], {int(term): df for term, df in found.items()})
