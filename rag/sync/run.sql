-- name: try_lock
SELECT pg_try_advisory_xact_lock(hashtextextended($1, 1852928629))

-- name: start
UPDATE sources SET
    run = run + 1, status = 'in_progress', started_at = clock_timestamp(), finished_at = NULL,
    complete = false, reason = NULL, listed = 0, added = 0, changed = 0, removed = 0,
    unchanged = 0, failed = 0, skipped = 0
WHERE tenant = $1 AND id = $2
RETURNING store_id, client, kind, origin::text, mounts, run, due_at

-- name: fence
-- The source can't be deleted or started again until this transaction ends.
SELECT true FROM sources WHERE id = $1 AND run = $2 FOR SHARE

-- name: finish
-- Asked for again since it was started, it stays due.
UPDATE sources SET
    status = $3, complete = $4, reason = $5, listed = $6, added = $7, changed = $8, removed = $9,
    unchanged = $10, failed = $11, skipped = $12, finished_at = clock_timestamp(),
    mounts = CASE WHEN $4 THEN $13::text[] ELSE mounts END,
    last_complete_at = CASE WHEN $4 THEN clock_timestamp() ELSE last_complete_at END,
    due_at = CASE WHEN due_at IS DISTINCT FROM $14 THEN due_at
        ELSE greatest(started_at + schedule_interval(schedule),
                      CASE WHEN schedule IS NOT NULL THEN clock_timestamp() END) END
WHERE id = $1 AND run = $2
