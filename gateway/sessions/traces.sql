-- name: keep
INSERT INTO message_traces (message_id, trace) VALUES ($1, $2::text::json);

-- name: find
-- $1 to $4 are the owner's tenant, client and end user, and the session.
SELECT t.trace::text FROM messages m LEFT JOIN message_traces t ON t.message_id = m.id
WHERE m.tenant = $1 AND m.client = $2 AND m.end_user = $3 AND m.session_id = $4 AND m.id = $5
  AND m.role = 'assistant';
