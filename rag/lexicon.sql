-- name: lock_store
SELECT 1 FROM vector_stores WHERE id = $1 FOR NO KEY UPDATE

-- name: count_terms
INSERT INTO lexicon AS l (store_id, term, df)
SELECT $1, term, count(*)
FROM chunks c JOIN chunk_terms t ON t.chunk_id = c.id, term_ids(t.terms) AS term
WHERE c.store_id = $1 AND c.file_id = $2
GROUP BY term
ON CONFLICT (store_id, term) DO UPDATE SET df = l.df + excluded.df

-- name: uncount_terms
WITH gone AS (
    SELECT term, count(*) AS df
    FROM chunks c JOIN chunk_terms t ON t.chunk_id = c.id, term_ids(t.terms) AS term
    WHERE c.store_id = $1 AND c.file_id = $2
    GROUP BY term
)
UPDATE lexicon l SET df = l.df - gone.df FROM gone WHERE l.store_id = $1 AND l.term = gone.term

-- name: drop_unused_terms
DELETE FROM lexicon WHERE store_id = $1 AND df <= 0

-- name: remove_document
DELETE FROM store_files WHERE store_id = $1 AND file_id = $2

-- name: statistics
SELECT (SELECT coalesce(sum(chunk_count), 0)::bigint FROM store_files
        WHERE store_id = ANY ($1) AND status = 'completed') AS chunks,
       (SELECT json_object_agg(term, df) FROM (
            SELECT term, sum(df) AS df FROM lexicon
            WHERE store_id = ANY ($1) AND term = ANY ($2) GROUP BY term
        ) AS found)::text AS frequencies
