-- name: live_indexes
-- $2 holds the stores the caller is limited to; NULL stands for no limit.
-- An expired store may have no index any more.
SELECT s.id AS store_id, i.id, i.shard, i.space,
       s.last_active_at < clock_timestamp() - interval '1 minute' AS touch,
       store_expires_at(s.last_active_at, s.expires_after_days) <= clock_timestamp() AS expired
FROM vector_stores s LEFT JOIN indexes i ON i.store_id = s.id AND i.live
WHERE s.tenant = $1 AND ($2::text[] IS NULL OR s.id = ANY ($2)) AND s.id = ANY ($3)
ORDER BY i.id

-- name: touch
-- Nobody waits for a store that another is changing.
UPDATE vector_stores SET last_active_at = clock_timestamp() WHERE id IN (
    SELECT id FROM vector_stores WHERE id = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED
)

-- name: eligible
-- {condition} is a filter's; its parameters follow.
SELECT array_agg(d.id) AS documents
FROM documents d JOIN store_files f USING (store_id, file_id)
WHERE d.index_id = ANY ($1) AND {condition}

-- name: lexical
WITH question AS MATERIALIZED (
    -- Once: a generic plan would read this text again for every row.
    SELECT $2::text::sparsevec AS terms
)
SELECT t.chunk_id FROM chunk_terms t, question q
WHERE t.index_id = ANY ($1) AND t.terms <#> q.terms < 0
  AND ($4::bigint[] IS NULL OR t.document = ANY ($4))
ORDER BY t.terms <#> q.terms, t.chunk_id LIMIT $3

-- name: dense
WITH question AS MATERIALIZED (
    SELECT $2::real[]::halfvec AS embedding
)
SELECT e.chunk_id FROM chunk_embeddings e, question q
WHERE e.index_id = ANY ($1) AND vector_dims(e.embedding) = cardinality($2::real[])
  AND ($4::bigint[] IS NULL OR e.document = ANY ($4))
ORDER BY e.embedding <=> q.embedding, e.chunk_id LIMIT $3

-- name: passages
WITH question AS MATERIALIZED (
    SELECT $2::text::sparsevec AS terms, $3::real[]::halfvec AS embedding
)
SELECT d.file_id, d.store_id, c.ordinal, f.filename, c.page, c.start_char, c.end_char, c.content,
       c.heading, sf.attributes::text AS attributes,
       -(t.terms <#> q.terms) AS lexical,
       CASE WHEN vector_dims(e.embedding) = cardinality($3::real[])
            THEN 1 - (e.embedding <=> q.embedding) END AS similarity
FROM chunks c
JOIN documents d ON d.id = c.document
JOIN files f ON f.id = d.file_id
JOIN store_files sf ON (sf.store_id, sf.file_id) = (d.store_id, d.file_id)
JOIN chunk_terms t ON t.chunk_id = c.id
LEFT JOIN chunk_embeddings e ON e.chunk_id = c.id
CROSS JOIN question q
WHERE c.id = ANY ($1)
ORDER BY d.file_id, c.ordinal, d.store_id
