-- name: live_indexes
-- $2 holds the stores the caller is limited to; NULL stands for no limit.
SELECT s.id AS store_id, i.id, i.shard, i.space
FROM vector_stores s JOIN indexes i ON i.store_id = s.id AND i.live
WHERE s.tenant = $1 AND ($2::text[] IS NULL OR s.id = ANY ($2)) AND s.id = ANY ($3)

-- name: candidates
WITH question AS MATERIALIZED (
    -- Once: a generic plan would read these texts again for every row.
    SELECT $2::text::sparsevec AS terms, $3::real[]::halfvec AS embedding
), lexical AS (
    SELECT t.chunk_id FROM chunk_terms t, question q
    WHERE t.index_id = ANY ($1) AND t.terms <#> q.terms < 0
    ORDER BY t.terms <#> q.terms, t.chunk_id LIMIT $4
), dense AS (
    SELECT e.chunk_id FROM chunk_embeddings e, question q
    WHERE e.index_id = ANY ($1) AND vector_dims(e.embedding) = cardinality($3::real[])
    ORDER BY e.embedding <=> q.embedding, e.chunk_id LIMIT $4
), candidate AS (
    SELECT chunk_id FROM lexical UNION SELECT chunk_id FROM dense
)
SELECT d.file_id, d.store_id, c.ordinal, f.filename, c.page, c.start_char, c.end_char, c.content,
       c.heading,
       -(t.terms <#> q.terms) AS lexical,
       CASE WHEN vector_dims(e.embedding) = cardinality($3::real[])
            THEN 1 - (e.embedding <=> q.embedding) END AS similarity
FROM candidate
JOIN chunks c ON c.id = candidate.chunk_id
JOIN documents d ON d.id = c.document
JOIN files f ON f.id = d.file_id
JOIN chunk_terms t ON t.chunk_id = c.id
LEFT JOIN chunk_embeddings e ON e.chunk_id = c.id
CROSS JOIN question q
ORDER BY d.file_id, c.ordinal, d.store_id
