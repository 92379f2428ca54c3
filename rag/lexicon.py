"""In how many chunks of an index each term occurs: the statistics behind BM25.

They change in the transaction that changes the chunks, under a lock on the store's indexes, and are
counted from the stored term vectors themselves; so they are exact at every moment.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from config.postgres import Connection, load_queries

_SQL = load_queries("rag", "lexicon.sql")


@dataclass(frozen=True, slots=True)
class Statistics:
    """What BM25 must know of the searched indexes.

    Attributes:
        chunks: How many there are.
        frequencies: Term -> in how many of them it occurs; terms of none are absent.
    """

    chunks: int
    frequencies: Mapping[int, int]


async def lock_indexes(connection: Connection, store_id: str) -> None:
    """Let nobody else change what is searched of this store until the transaction ends."""
    await connection.execute(_SQL["lock_indexes"], store_id)


async def count_document(connection: Connection, index_id: int, document: int, shard: int) -> None:
    """Count the terms of a document just written; the store's indexes are locked."""
    await connection.execute(_SQL["count_terms"], index_id, document, shard)


async def forget_document(connection: Connection, store_id: str, file_id: str) -> None:
    """Remove a file and its counts from a store, whatever its status, out of every index."""
    await lock_indexes(connection, store_id)
    for row in await connection.fetch(_SQL["documents_of_file"], store_id, file_id):
        place = row["index_id"], row["id"], row["shard"]
        await connection.execute(_SQL["uncount_terms"], *place)
        await connection.execute(_SQL["drop_unused_terms"], *place)
    await connection.execute(_SQL["remove_document"], store_id, file_id)


async def read_statistics(
    con: Connection, index_ids: Sequence[int], terms: Sequence[int]
) -> Statistics:
    """Return the statistics of these terms over all of the indexes."""
    row = await con.fetchrow(_SQL["statistics"], index_ids, terms)
    assert row is not None  # noqa: S101 - two scalar subqueries are one row
    found = json.loads(row["frequencies"] or "{}")
    return Statistics(row["chunks"], {int(term): df for term, df in found.items()})
