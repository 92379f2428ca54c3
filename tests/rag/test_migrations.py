"""What was stored by an earlier release is kept."""

from importlib.resources import files

import asyncpg

from config import postgres


async def test_data_of_before_gets_its_tenant(empty_database: str) -> None:
    await postgres.migrate(empty_database, [])
    old = await asyncpg.connect(empty_database)
    migrations = files("rag") / "migrations"
    await old.execute((migrations / "0001_knowledge.sql").read_text())
    await old.execute("""
        INSERT INTO files (id, tenant, filename, purpose, bytes) VALUES ('f', 'acme', 'a', '', 1);
        INSERT INTO file_parts VALUES ('f', 0, 'x');
        INSERT INTO vector_stores (id, tenant, name) VALUES ('s', 'acme', 'a');
        INSERT INTO store_files (store_id, file_id) VALUES ('s', 'f');
        INSERT INTO chunks (store_id, file_id, ordinal, start_char, end_char, heading, content)
        VALUES ('s', 'f', 0, 0, 1, '', 'x');
        INSERT INTO chunk_terms SELECT id, 's', '{1:1}/2' FROM chunks;
        INSERT INTO chunk_embeddings SELECT id, 's', '[1]' FROM chunks;
        INSERT INTO lexicon VALUES ('s', 1, 1);
    """)
    await old.execute((migrations / "0002_row_level_security.sql").read_text())
    names = ("file_parts", "store_files", "chunks", "chunk_terms", "chunk_embeddings", "lexicon")
    for name in names:
        assert await old.fetchval(f"SELECT tenant FROM {name}") == "acme", name
    await old.execute("""
        UPDATE store_files SET status = 'completed', chunk_count = 1, usage_bytes = 1,
            vector_space = 'model en'
    """)
    await old.execute((migrations / "0003_indexes.sql").read_text())
    for name in (*names, "indexes", "documents"):
        assert await old.fetchval(f"SELECT tenant FROM {name}") == "acme", name
    index = await old.fetchrow("SELECT id, space, live, shard FROM indexes")
    assert tuple(index)[1:] == ("model en", True, 0)
    for name in ("documents", "chunk_terms", "chunk_embeddings", "lexicon"):
        assert await old.fetchval(f"SELECT index_id FROM {name}") == index["id"], name
    found = await old.fetchrow("""
        SELECT d.file_id, c.content FROM documents d JOIN chunks c ON c.document = d.id
        JOIN chunk_terms t ON (t.document, t.chunk_id) = (d.id, c.id)
        JOIN chunk_embeddings e ON (e.document, e.chunk_id) = (d.id, c.id)
    """)
    assert tuple(found) == ("f", "x")
    await old.execute((migrations / "0005_counts_and_expiry.sql").read_text())
    counted = await old.fetchrow("SELECT tenant, store_id, status, files FROM store_counts")
    assert tuple(counted) == ("acme", "s", "completed", 1)
    await old.execute((migrations / "0004_ingest.sql").read_text())
    await old.execute((migrations / "0006_large_stores.sql").read_text())
    await old.execute((migrations / "0011_reindex.sql").read_text())
    await old.execute((migrations / "0012_chunk_counts.sql").read_text())
    assert await old.fetchval("SELECT chunks FROM indexes") == 1
    await old.close()
