-- name: insert_batch
-- Nothing where the store is deleted at this moment; attaching the files tells it.
INSERT INTO file_batches (id, store_id) SELECT $1, id FROM vector_stores WHERE id = $2 FOR KEY SHARE

-- name: get_batch
-- $2 holds the stores the caller is limited to; NULL stands for no limit.
SELECT b.id, b.store_id AS vector_store_id, b.created_at, counts.*
FROM file_batches b
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE status = 'in_progress') AS in_progress,
           count(*) FILTER (WHERE status = 'completed') AS completed,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE status = 'cancelled') AS cancelled
    FROM store_files WHERE batch_id = b.id
) AS counts
WHERE b.tenant = $1 AND ($2::text[] IS NULL OR b.store_id = ANY ($2))
  AND b.store_id = $3 AND b.id = $4

-- name: cancel
UPDATE store_files SET status = 'cancelled' WHERE batch_id = $1 AND status = 'in_progress'
