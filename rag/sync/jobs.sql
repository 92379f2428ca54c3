-- name: enqueue_due
-- Of every tenant; what is enqueued or running already is not enqueued again.
SELECT queue_job('sync', tenant, jsonb_build_object('source', id), 1, 'sync ' || id, interval '0')
FROM sources WHERE due_at <= clock_timestamp()
