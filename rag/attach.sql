-- name: touch
UPDATE vector_stores SET last_active_at = clock_timestamp() WHERE id = $1

-- name: attach
-- A file without a row in the answer was read already, cut in another way.
INSERT INTO store_files (store_id, file_id, attributes, chunking, batch_id)
SELECT $1, file_id, coalesce(attributes::jsonb, '{}'), chunking::jsonb, $5
FROM unnest($2::text[], $3::text[], $4::text[]) AS added (file_id, attributes, chunking)
ON CONFLICT (store_id, file_id) DO UPDATE SET
    attributes = CASE WHEN excluded.attributes = '{}' THEN store_files.attributes
                      ELSE excluded.attributes END,
    batch_id = coalesce(excluded.batch_id, store_files.batch_id)
WHERE store_files.status IN ('failed', 'cancelled') OR excluded.chunking IS NULL
   OR excluded.chunking = store_files.chunking
RETURNING file_id

-- name: retry
UPDATE store_files f
SET status = 'in_progress', attempts = 0, claim = NULL, error_code = NULL, error_message = NULL,
    chunks_total = NULL, chunks_done = 0, chunking = added.chunking::jsonb
FROM unnest($2::text[], $3::text[]) AS added (file_id, chunking)
WHERE f.store_id = $1 AND f.file_id = added.file_id AND f.status IN ('failed', 'cancelled')

-- name: enqueue_reading
SELECT enqueue_job(
    'read', jsonb_build_object('store_id', store_id, 'file_id', file_id), 0,
    reading_key(store_id, file_id), interval '0')
FROM store_files
WHERE store_id = $1 AND file_id = ANY ($2) AND status = 'in_progress'
