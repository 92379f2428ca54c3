-- name: lock_indexes
-- Those of a store; what changes one of them holds this until its transaction ends.
SELECT id FROM indexes WHERE store_id = $1 ORDER BY id FOR NO KEY UPDATE

-- name: count_terms
INSERT INTO lexicon AS l (index_id, term, df)
SELECT $1, term, count(*)
FROM chunk_terms t, term_ids(t.terms) AS term
WHERE t.shard = $3 AND t.document = $2
GROUP BY term
ON CONFLICT (index_id, term) DO UPDATE SET df = l.df + excluded.df

-- name: documents_of_file
SELECT d.id, d.index_id, i.shard FROM documents d JOIN indexes i ON i.id = d.index_id
WHERE d.store_id = $1 AND d.file_id = $2

-- name: uncount_terms
WITH gone AS (
    SELECT term, count(*) AS df
    FROM chunk_terms t, term_ids(t.terms) AS term
    WHERE t.shard = $3 AND t.document = $2
    GROUP BY term
)
UPDATE lexicon l SET df = l.df - gone.df FROM gone WHERE l.index_id = $1 AND l.term = gone.term

-- name: drop_unused_terms
DELETE FROM lexicon WHERE index_id = $1 AND df <= 0 AND term IN (
    SELECT term_ids(t.terms) FROM chunk_terms t WHERE t.shard = $3 AND t.document = $2
)

-- name: remove_document
DELETE FROM store_files WHERE store_id = $1 AND file_id = $2

-- name: statistics
SELECT (SELECT coalesce(sum(chunks), 0)::bigint FROM indexes WHERE id = ANY ($1)) AS chunks,
       (SELECT json_object_agg(term, df) FROM (
            SELECT term, sum(df) AS df FROM lexicon
            WHERE index_id = ANY ($1) AND term = ANY ($2) GROUP BY term
        ) AS found)::text AS frequencies
