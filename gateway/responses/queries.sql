-- $1 to $3 are the owner: tenant, client, end user.

-- name: insert_response
INSERT INTO responses (tenant, client, end_user, id, previous, status, body, input, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::json, $8::text::json, now() + $9::interval);

-- name: find_response
SELECT body::text, status FROM responses
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4 AND expires_at > now();

-- name: find_input
SELECT input::text FROM responses
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4 AND expires_at > now();

-- name: delete_response
DELETE FROM responses
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4 AND expires_at > now()
RETURNING id;

-- name: chain
-- A response and those it follows, the oldest first.
WITH RECURSIVE chain AS (
    SELECT id, previous, status, body, input, 1 AS step FROM responses
    WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4 AND expires_at > now()
    UNION ALL
    SELECT r.id, r.previous, r.status, r.body, r.input, step + 1
    FROM chain c JOIN responses r ON r.id = c.previous
    WHERE r.tenant = $1 AND r.client = $2 AND r.end_user = $3 AND r.expires_at > now()
      AND step < $5
)
SELECT id, previous, status, (body -> 'output')::text AS output, input::text
FROM chain ORDER BY step DESC;

-- name: keep_chain
-- What is built on is kept as long as what builds on it.
UPDATE responses SET expires_at = greatest(expires_at, now() + $2::interval) WHERE id = ANY ($1);

-- name: set_state
UPDATE responses SET status = $2, body = $3::text::json
WHERE id = $1 AND status IN ('queued', 'in_progress')
RETURNING id;

-- name: complete_cancelled
-- By the worker that hears of it.
UPDATE responses SET body = $2::text::json WHERE id = $1 AND status = 'cancelled'
RETURNING id;

-- name: lock_unfinished
-- `job` is NULL where its own request answers it.
SELECT r.body::text, r.status, j.response AS job
FROM responses r LEFT JOIN response_jobs j ON j.response = r.id
WHERE r.tenant = $1 AND r.client = $2 AND r.end_user = $3 AND r.id = $4 AND r.expires_at > now()
FOR UPDATE OF r;

-- name: add_events
INSERT INTO response_events (response, last, events, expires_at)
VALUES ($1, $2, $3::text::json, now() + $4::interval);

-- name: read_events
SELECT events::text FROM response_events
WHERE response = $1 AND last > $2 AND expires_at > now() ORDER BY last;

-- name: count_jobs
SELECT count(*) FROM response_jobs WHERE tenant = $1;

-- name: add_job
INSERT INTO response_jobs (response, conversation) VALUES ($1, $2);

-- name: add_request
INSERT INTO response_requests (response, caller, request)
VALUES ($1, $2::text::json, $3::text::json);

-- name: waiting
-- Of every tenant, like the purges; of a conversation the oldest alone.
SELECT tenant, response FROM response_jobs j
WHERE (lease IS NULL OR lease < now()) AND NOT EXISTS (
    SELECT FROM response_jobs b
    WHERE b.tenant = j.tenant AND b.conversation = j.conversation AND b.queued < j.queued
)
ORDER BY queued LIMIT $1;

-- name: claim
UPDATE response_jobs j SET lease = now() + $2::interval, attempts = attempts + 1
FROM responses r, response_requests q
WHERE j.response = $1 AND (lease IS NULL OR lease < now())
  AND r.id = j.response AND q.response = j.response
RETURNING j.attempts, q.caller::text, q.request::text, r.body::text;

-- name: renew
UPDATE response_jobs SET lease = now() + $2::interval WHERE response = $1 RETURNING response;

-- name: release
UPDATE response_jobs SET lease = NULL WHERE response = $1;

-- name: end_job
DELETE FROM response_jobs WHERE response = $1;

-- name: purge_events
DELETE FROM response_events WHERE expires_at < now();

-- name: purge_responses
DELETE FROM responses WHERE expires_at < now();

-- name: purge_turns
DELETE FROM turns WHERE expires_at < now();

-- name: purge_sessions
DELETE FROM sessions WHERE expires_at < now();
