-- name: insert_document
INSERT INTO documents (index_id, store_id, file_id, chunk_count, usage_bytes, made_from)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id

-- name: delete_document
DELETE FROM documents WHERE id = $1

-- name: insert_chunks
WITH added AS (
    SELECT * FROM unnest(
        $4::integer[], $5::integer[], $6::integer[], $7::integer[], $8::text[], $9::text[],
        $10::text[], $11::text[], $12::bytea[], $13::text[]
    ) AS added (
        ordinal, page, start_char, end_char, heading, content, context, terms, text_hash, embedding
    )
), chunk AS (
    INSERT INTO chunks (document, ordinal, page, start_char, end_char, heading, content, context)
    SELECT $3::bigint, ordinal, page, start_char, end_char, heading, content, context FROM added
    RETURNING id, ordinal
), embedded AS (
    INSERT INTO chunk_embeddings (shard, index_id, document, chunk_id, text_hash, embedding)
    SELECT $1::integer, $2::bigint, $3::bigint, id, text_hash, embedding::halfvec
    FROM chunk JOIN added USING (ordinal) WHERE embedding IS NOT NULL
)
INSERT INTO chunk_terms (shard, index_id, document, chunk_id, terms)
SELECT $1::integer, $2::bigint, $3::bigint, id, terms::sparsevec FROM chunk JOIN added USING (ordinal)

-- name: same_document
SELECT d.id, d.chunk_count, d.usage_bytes, i.shard
FROM documents d JOIN indexes i ON i.id = d.index_id
WHERE d.made_from = $1 ORDER BY d.id LIMIT 1

-- name: copy_chunks
WITH chunk AS (
    INSERT INTO chunks (document, ordinal, page, start_char, end_char, heading, content, context)
    SELECT $3::bigint, ordinal, page, start_char, end_char, heading, content, context
    FROM chunks WHERE document = $4
    RETURNING id, ordinal
), pair AS (
    SELECT chunk.id, old.id AS old
    FROM chunk JOIN chunks old ON old.document = $4 AND old.ordinal = chunk.ordinal
), embedded AS (
    INSERT INTO chunk_embeddings (shard, index_id, document, chunk_id, text_hash, embedding)
    SELECT $1::integer, $2::bigint, $3::bigint, pair.id, e.text_hash, e.embedding
    FROM pair JOIN chunk_embeddings e ON e.chunk_id = pair.old AND e.shard = $5
), term AS (
    INSERT INTO chunk_terms (shard, index_id, document, chunk_id, terms)
    SELECT $1::integer, $2::bigint, $3::bigint, pair.id, t.terms
    FROM pair JOIN chunk_terms t ON t.chunk_id = pair.old AND t.shard = $5
    RETURNING 1
)
SELECT count(*) FROM term
