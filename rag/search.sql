-- name: live_indexes
-- $2 holds the stores the caller is limited to; NULL stands for no limit.
-- An expired store may have no index any more.
SELECT s.id AS store_id, i.id, i.shard, i.space, i.last_posted,
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

-- name: plan_for_values
-- A plan for any shard would lock and look at every partition. One scan of a graph goes on until
-- enough rows have passed the filter. The joins stand in their order: to try others took as long as
-- to run them.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('join_collapse_limit', '1', true),
       set_config('hnsw.iterative_scan', 'relaxed_order', true),
       set_config('hnsw.ef_search', $1, true)

-- name: eligible
-- {condition} is a filter's; its parameters follow.
SELECT d.index_id, array_agg(d.id) FILTER (WHERE {condition}) AS documents,
       coalesce(sum(d.chunk_count) FILTER (WHERE {condition}), 0)::bigint AS chunks,
       sum(d.chunk_count)::bigint AS every
FROM documents d JOIN store_files f USING (store_id, file_id)
WHERE d.index_id = ANY ($1)
GROUP BY d.index_id

-- name: lexical
-- {wanted} joins the documents that count.
WITH question AS MATERIALIZED (
    -- Once: a generic plan would read this text again for every row.
    SELECT $4::text::sparsevec AS terms
)
SELECT chunk_id FROM (
    SELECT t.chunk_id, t.terms <#> q.terms AS distance FROM question q, chunk_terms t {wanted}
    WHERE t.shard = $1 AND t.index_id = ANY ($2)
    OFFSET 0  -- or the distance is computed twice
) AS found
WHERE distance < 0 ORDER BY distance, chunk_id LIMIT $3

-- name: dense
WITH question AS MATERIALIZED (
    SELECT $4::real[]::halfvec AS embedding
)
SELECT t.chunk_id FROM question q, chunk_embeddings t {wanted}
WHERE t.shard = $1 AND t.index_id = ANY ($2)
  AND vector_dims(t.embedding) = cardinality($4::real[])
ORDER BY t.embedding <=> q.embedding, t.chunk_id LIMIT $3

-- name: posted
-- By the terms $5 alone, each with its weight, the best $7 are chosen; of these, and of what came
-- behind the last chunk that has postings, the whole score is computed. `pool` is how many were
-- chosen, `floor` the least that one of them had by these terms.
WITH question AS MATERIALIZED (
    SELECT $4::text::sparsevec AS terms
), pool AS MATERIALIZED (
    SELECT chunk_id, sum(part) AS score FROM (
        SELECT p.segment + unnest(p.chunks) AS chunk_id,
               unnest(p.impacts) * asked.weight / 1000 AS part
        FROM unnest($5::integer[], $6::real[]) AS asked (term, weight)
        JOIN chunk_postings p ON p.shard = $1 AND p.term = asked.term
    ) AS holding
    GROUP BY chunk_id ORDER BY score DESC, chunk_id LIMIT $7
), candidate AS (
    SELECT t.chunk_id, t.terms <#> q.terms AS distance
    FROM question q, pool JOIN chunk_terms t ON t.chunk_id = pool.chunk_id {wanted}
    WHERE t.shard = $1 AND t.index_id = ANY ($2)
    UNION ALL
    SELECT t.chunk_id, t.terms <#> q.terms FROM question q, chunk_terms t {wanted}
    WHERE t.shard = $1 AND t.index_id = ANY ($2) AND t.chunk_id > $8
    OFFSET 0  -- or the distance is computed twice
)
SELECT chunk_id, -distance AS score, pool, floor
FROM candidate, (SELECT count(*) AS pool, min(score) AS floor FROM pool) AS chosen
WHERE distance < 0 ORDER BY distance, chunk_id LIMIT $3

-- name: near
-- As the graph's index is written, or it would not be used.
SELECT t.chunk_id FROM chunk_embeddings t
WHERE t.shard = $1 AND t.index_id = ANY ($2) AND vector_dims(t.embedding) = {numbers}
  {wanted}
ORDER BY t.embedding::halfvec({numbers}) <=> $4::real[]::halfvec({numbers}) LIMIT $3

-- name: at_places
-- $2 holds the documents that a filter leaves; NULL stands for all.
SELECT DISTINCT c.id
FROM unnest($3::text[], $4::integer[], $5::integer[], $6::integer[])
    AS place (file_id, page, start_char, end_char)
JOIN documents d ON d.index_id = ANY ($1) AND d.file_id = place.file_id
JOIN chunks c ON c.document = d.id AND c.page IS NOT DISTINCT FROM place.page
    AND c.start_char < place.end_char AND c.end_char > place.start_char
WHERE $2::bigint[] IS NULL OR d.id = ANY ($2)
ORDER BY c.id

-- name: passages
WITH question AS MATERIALIZED (
    SELECT $3::text::sparsevec AS terms, $4::real[]::halfvec AS embedding
)
SELECT d.file_id, d.store_id, c.ordinal, f.filename, c.page, c.start_char, c.end_char, c.content,
       c.heading, sf.attributes::text AS attributes,
       -(t.terms <#> q.terms) AS lexical,
       CASE WHEN vector_dims(e.embedding) = cardinality($4::real[])
            THEN 1 - (e.embedding <=> q.embedding) END AS similarity
FROM chunks c
JOIN documents d ON d.id = c.document
JOIN files f ON f.id = d.file_id
JOIN store_files sf ON (sf.store_id, sf.file_id) = (d.store_id, d.file_id)
JOIN chunk_terms t ON t.chunk_id = c.id AND t.shard = $2
LEFT JOIN chunk_embeddings e ON e.chunk_id = c.id AND e.shard = $2
CROSS JOIN question q
WHERE c.id = ANY ($1)
ORDER BY d.file_id, c.ordinal, d.store_id
