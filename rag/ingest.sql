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
UPDATE store_files
SET status = 'completed', chunk_count = $3, usage_bytes = $4, vector_space = $5
WHERE store_id = $1 AND file_id = $2 AND status = 'in_progress'
RETURNING true

-- name: fail
UPDATE store_files SET status = 'failed', error_code = $3, error_message = $4
WHERE store_id = $1 AND file_id = $2 AND status = 'in_progress'

-- name: insert_chunk
WITH chunk AS (
    INSERT INTO chunks
        (store_id, file_id, ordinal, page, start_char, end_char, heading, content)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    RETURNING id
), embedded AS (
    INSERT INTO chunk_embeddings (chunk_id, store_id, embedding)
    SELECT id, $1, $10::real[]::halfvec FROM chunk WHERE $10::real[] IS NOT NULL
)
INSERT INTO chunk_terms (chunk_id, store_id, terms)
SELECT id, $1, $9::text::sparsevec FROM chunk
