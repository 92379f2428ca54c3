-- name: next_jobs
-- Of every tenant; the one statement that is not run for one of them.
SELECT tenant, store_id, file_id FROM store_files
WHERE status = 'in_progress' ORDER BY attempts, created_at LIMIT 20

-- name: try_lock
SELECT pg_try_advisory_lock(hashtext($1), hashtext($2))

-- name: start
UPDATE store_files f SET attempts = attempts + 1
FROM files
WHERE f.tenant = $1 AND f.store_id = $2 AND f.file_id = $3 AND f.status = 'in_progress'
  AND files.id = f.file_id
RETURNING f.store_id, f.file_id, f.attempts, f.tenant, files.filename

-- name: complete
UPDATE store_files SET status = 'completed', usage_bytes = $3
WHERE store_id = $1 AND file_id = $2 AND status = 'in_progress'
RETURNING true

-- name: fail
UPDATE store_files SET status = 'failed', error_code = $3, error_message = $4
WHERE store_id = $1 AND file_id = $2 AND status = 'in_progress'

-- name: live_index
-- Its space is the first document's; '' again when the documents are of several.
UPDATE indexes i
SET space = CASE WHEN i.space = $2 OR NOT EXISTS (
                     SELECT FROM documents d WHERE d.index_id = i.id) THEN $2 ELSE '' END
WHERE i.store_id = $1 AND i.live
RETURNING id, shard

-- name: insert_document
INSERT INTO documents (index_id, store_id, file_id, chunk_count, usage_bytes)
VALUES ($1, $2, $3, $4, $5)
RETURNING id

-- name: insert_chunk
WITH chunk AS (
    INSERT INTO chunks (document, ordinal, page, start_char, end_char, heading, content)
    VALUES ($3, $4, $5, $6, $7, $8, $9)
    RETURNING id
), embedded AS (
    INSERT INTO chunk_embeddings (shard, index_id, document, chunk_id, embedding)
    SELECT $1, $2, $3, id, $11::real[]::halfvec FROM chunk WHERE $11::real[] IS NOT NULL
)
INSERT INTO chunk_terms (shard, index_id, document, chunk_id, terms)
SELECT $1, $2, $3, id, $10::text::sparsevec FROM chunk
