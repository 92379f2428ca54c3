-- name: sweep
-- Files of every tenant that wait without a job: what a crash or a lost job left.
SELECT queue_job(
    'read', tenant, jsonb_build_object('store_id', store_id, 'file_id', file_id), 0,
    reading_key(store_id, file_id), interval '0')
FROM store_files f
WHERE f.status = 'in_progress' AND NOT EXISTS (
    SELECT FROM pgqueuer q
    WHERE q.dedupe_key = reading_key(f.store_id, f.file_id) AND q.status IN ('queued', 'picked'))

-- name: start
UPDATE store_files f SET attempts = attempts + 1, claim = $3, chunks_done = 0, chunks_total = NULL
FROM files
WHERE f.store_id = $1 AND f.file_id = $2 AND f.status = 'in_progress' AND files.id = f.file_id
  AND (f.claim IS NULL OR $4)
RETURNING f.attempts, files.filename

-- name: give_back
-- It was not the document's fault: the attempt does not count.
UPDATE store_files SET attempts = attempts - 1, claim = NULL
WHERE store_id = $1 AND file_id = $2 AND claim = $3 AND status = 'in_progress'

-- name: still_wanted
SELECT true FROM store_files
WHERE store_id = $1 AND file_id = $2 AND claim = $3 AND status = 'in_progress'

-- name: complete
UPDATE store_files SET status = 'completed', usage_bytes = $4, claim = NULL
WHERE store_id = $1 AND file_id = $2 AND claim = $3 AND status = 'in_progress'
RETURNING true

-- name: fail
UPDATE store_files SET status = 'failed', error_code = $4, error_message = $5, claim = NULL
WHERE store_id = $1 AND file_id = $2 AND claim = $3 AND status = 'in_progress'

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
