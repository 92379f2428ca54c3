-- name: sweep
-- Indexes of every tenant that wait without a job: what a lost job left.
SELECT queue_job(
    'reindex', tenant, jsonb_build_object('index', id), 0, 'reindex:' || id, interval '0')
FROM indexes WHERE state = 'building'

-- name: start
UPDATE indexes SET attempts = attempts + 1 WHERE id = $1 AND state = 'building'
RETURNING store_id, space, model, chunking::text AS chunking, attempts

-- name: give_back
-- It was no document's fault: the attempt does not count.
UPDATE indexes SET attempts = attempts - 1 WHERE id = $1 AND state = 'building'

-- name: still_wanted
SELECT true FROM indexes WHERE id = $1 AND state = 'building'

-- name: lacking
-- A file that has expired is removed within a minute.
SELECT f.file_id, f.chunking::text AS chunking, files.filename, files.sha256
FROM store_files f JOIN files ON files.id = f.file_id
WHERE f.store_id = $2 AND f.status = 'completed'
  AND (files.expires_at IS NULL OR files.expires_at > clock_timestamp())
  AND NOT EXISTS (SELECT FROM documents d WHERE d.index_id = $1 AND d.file_id = f.file_id)
ORDER BY f.created_at, f.file_id LIMIT $3

-- name: place
-- Where a document is still to be written; locked, so that nobody removes it meanwhile.
SELECT i.shard FROM indexes i JOIN store_files f ON f.store_id = i.store_id
WHERE i.id = $1 AND i.state = 'building' AND f.file_id = $2 AND f.status = 'completed'
  AND NOT EXISTS (SELECT FROM documents d WHERE d.index_id = i.id AND d.file_id = f.file_id)
FOR NO KEY UPDATE OF f

-- name: went_on
-- Only attempts without a document in between count.
UPDATE indexes SET attempts = 1 WHERE id = $1 AND attempts > 1

-- name: forget_early
DELETE FROM early_embeddings WHERE store_id = $1 AND file_id = $2

-- name: retire_live
UPDATE indexes SET live = false, retired_at = clock_timestamp() WHERE store_id = $1 AND live

-- name: go_live
UPDATE indexes SET live = true WHERE id = $1

-- name: count_again
-- In the order of their ids, as all do that lock several.
WITH changed AS (
    SELECT f.file_id, d.chunk_count, d.usage_bytes
    FROM store_files f JOIN documents d ON (d.store_id, d.file_id) = (f.store_id, f.file_id)
    WHERE f.store_id = $2 AND d.index_id = $1
      AND (f.chunks_total, f.usage_bytes) IS DISTINCT FROM (d.chunk_count, d.usage_bytes)
    ORDER BY f.file_id FOR NO KEY UPDATE OF f
)
UPDATE store_files f
SET usage_bytes = c.usage_bytes, chunks_total = c.chunk_count, chunks_done = c.chunk_count
FROM changed c WHERE f.store_id = $2 AND f.file_id = c.file_id

-- name: fail
UPDATE indexes SET failure = $2 WHERE id = $1 AND state = 'building'

-- name: retired
SELECT tenant, id, store_id FROM indexes
WHERE state = 'retired' AND retired_at <= clock_timestamp() - make_interval(secs => $1)
ORDER BY retired_at LIMIT 100

-- name: remove_documents
-- Nobody waits for it, nor it for anybody.
DELETE FROM documents WHERE id IN (
    SELECT id FROM documents WHERE index_id = $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
)

-- name: remove_index
DELETE FROM indexes WHERE id = $1

-- name: forget_all_early
-- Of documents that nobody reads any more.
DELETE FROM early_embeddings e USING store_files f
WHERE e.store_id = $1 AND (f.store_id, f.file_id) = (e.store_id, e.file_id)
  AND f.status = 'completed'
  AND NOT EXISTS (SELECT FROM indexes WHERE store_id = $1 AND state IN ('building', 'failed'))
