-- name: take_back
-- What this worker had when its connection was lost.
UPDATE pgqueuer SET status = 'queued', queue_manager_id = NULL, slot = NULL
WHERE queue_manager_id = $1 AND status = 'picked'

-- name: enqueue_due
SELECT queue_job($1, '', '{}', 1, $1, interval '0')
