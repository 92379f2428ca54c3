-- name: sweep
-- Files of every tenant that wait without a job: what a crash or a lost job left.
SELECT queue_job(
    'read', tenant, jsonb_build_object('store_id', store_id, 'file_id', file_id), 0,
    reading_key(store_id, file_id), interval '0')
FROM store_files f
WHERE f.status = 'in_progress' AND NOT EXISTS (
    SELECT FROM pgqueuer q
    WHERE q.dedupe_key = reading_key(f.store_id, f.file_id) AND q.status IN ('queued', 'picked'))

-- name: prune_log
DELETE FROM pgqueuer_log WHERE created < now() - interval '1 day'

-- name: start
UPDATE store_files f SET attempts = attempts + 1, claim = $3, chunks_done = 0, chunks_total = NULL
FROM files
WHERE f.store_id = $1 AND f.file_id = $2 AND f.status = 'in_progress' AND files.id = f.file_id
  AND (f.claim IS NULL OR $4)
RETURNING f.attempts, f.chunking::text AS chunking, files.filename, files.sha256

-- name: give_back
-- It was not the document's fault: the attempt does not count.
UPDATE store_files SET attempts = attempts - 1, claim = NULL
WHERE store_id = $1 AND file_id = $2 AND claim = $3 AND status = 'in_progress'

-- name: still_wanted
-- Locked: nobody cancels what is being written.
SELECT true FROM store_files
WHERE store_id = $1 AND file_id = $2 AND claim = $3 AND status = 'in_progress'
FOR NO KEY UPDATE

-- name: complete
UPDATE store_files
SET status = 'completed', usage_bytes = $3, chunks_done = $4, chunks_total = $4, claim = NULL
WHERE store_id = $1 AND file_id = $2

-- name: fail
UPDATE store_files SET status = 'failed', error_code = $4, error_message = $5, claim = NULL
WHERE store_id = $1 AND file_id = $2 AND claim = $3 AND status = 'in_progress'

-- name: forget_early
DELETE FROM early_embeddings WHERE store_id = $1 AND file_id = $2

-- name: live_index
SELECT id, shard, space, chunking::text AS chunking FROM indexes WHERE store_id = $1 AND live

-- name: set_space
-- That of the first document; '' when the documents are of several.
UPDATE indexes i
SET space = CASE WHEN EXISTS (
    SELECT FROM documents d WHERE d.index_id = i.id AND d.file_id <> $3) THEN '' ELSE $2 END
WHERE i.id = $1 AND i.space <> $2
