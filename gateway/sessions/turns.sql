-- $1 to $4 are the owner's tenant, client and end user, and the session, where there are so many.
-- A turn is named by its answer's message, which is nobody else's.

-- name: find_key
-- `over`: it came to nothing, or its time is up, and whoever sends the key again begins anew.
SELECT message, request, state IN ('failed', 'lapsed')
    OR (state IN ('waiting', 'running') AND lease <= now())
    OR (state NOT IN ('waiting', 'running') AND expires_at <= now()) AS over
FROM turns WHERE tenant = $1 AND client = $2 AND end_user = $3 AND key = $4;

-- name: forget_expired
DELETE FROM sessions
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND id = $4 AND expires_at <= now();

-- name: count_waiting
SELECT count(*) FROM turns
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
  AND state = 'waiting' AND lease > now();

-- name: begin
INSERT INTO turns (tenant, client, end_user, session_id, message, kept, key, request, agent,
                   question, shape, lease, expires_at, state)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::json, now() + $12::interval,
        now() + interval '1 day',
        CASE WHEN EXISTS (
            SELECT FROM turns
            WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
              AND state IN ('waiting', 'running') AND lease > now()
        ) THEN 'waiting' ELSE 'running' END)
RETURNING state;

-- name: claim
-- It runs once nobody who came before waits or runs; until then this says that it still waits.
UPDATE turns t SET lease = now() + $2::interval, state = CASE WHEN EXISTS (
    SELECT FROM turns o
    WHERE o.tenant = t.tenant AND o.client = t.client AND o.end_user = t.end_user
      AND o.session_id = t.session_id AND o.lease > now()
      AND (o.state = 'running' OR (o.state = 'waiting' AND o.place < t.place))
) THEN 'waiting' ELSE 'running' END
WHERE message = $1 AND state = 'waiting'
RETURNING state;

-- name: renew
UPDATE turns SET lease = CASE
    WHEN state IN ('waiting', 'running') THEN now() + $2::interval ELSE lease END
WHERE message = $1
RETURNING state, extract(epoch FROM now() - followed)::float8 AS away_s;

-- name: add_parts
-- Once more where it is not known whether it was done: nobody else writes them.
INSERT INTO turn_parts (message, first, parts) VALUES ($1, $2, $3::text::json)
ON CONFLICT (message, first) DO UPDATE SET parts = excluded.parts;

-- name: keep_parts
-- What was said stays until somebody looks at the session, even if the process dies.
UPDATE turns SET expires_at = coalesce(now() + $2::interval, 'infinity')
WHERE message = $1 AND state = 'running';

-- name: finish
UPDATE turns SET state = 'complete', answer = $2::text::json, expires_at = now() + $3::interval
WHERE message = $1 AND state = 'running';

-- name: break_off
-- What was stored in part stays so; of what said nothing, those who wait are told why.
UPDATE turns SET error = $2::text::json,
    state = CASE WHEN state = 'partial' THEN $3 ELSE 'failed' END,
    expires_at = CASE WHEN state = 'partial' THEN expires_at ELSE now() + interval '1 minute' END
WHERE message = $1 AND state IN ('waiting', 'running', 'partial');

-- name: forget
DELETE FROM turns WHERE message = $1;

-- name: forget_live
DELETE FROM turns WHERE message = $1 AND state IN ('waiting', 'running');

-- name: forget_dead
DELETE FROM turns WHERE message = $1 AND state IN ('waiting', 'running') AND lease <= now();

-- name: forget_messages
-- What a lapsed turn left in its session, in place of which another one comes.
DELETE FROM messages m USING turns t
WHERE t.message = $1 AND t.state = 'lapsed' AND m.id IN (t.message, t.asked);

-- name: dead_of_session
SELECT message, agent, question,
       coalesce((SELECT p.parts -> 0 ->> 'target' FROM turn_parts p
                 WHERE p.message = t.message AND p.first = 0), '') AS model
FROM turns t
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND session_id = $4
  AND state = 'running' AND lease <= now()
FOR UPDATE;

-- name: lapse
UPDATE turns SET state = 'lapsed', asked = $2, stored_in = session_id,
                 expires_at = now() + $3::interval
WHERE message = $1;

-- name: parts
SELECT parts::text FROM turn_parts WHERE message = $1 ORDER BY first;

-- name: find
-- What was stored in part runs on until it is told why, or until its process is dead.
SELECT message AS message_id, session_id, agent,
       CASE WHEN state = 'partial' AND error IS NULL AND lease > now() THEN 'running'
            ELSE state END AS state,
       shape::text, answer::text, error::text,
       request, floor(extract(epoch FROM created_at))::bigint AS created_at,
       state IN ('waiting', 'running') AND lease <= now() AS dead
FROM turns
WHERE tenant = $1 AND client = $2 AND end_user = $3 AND message = $4 AND kept
  AND (expires_at > now() OR state IN ('waiting', 'running'));

-- name: follow
UPDATE turns SET followed = now()
WHERE message = $1 AND state IN ('waiting', 'running') AND followed < now() - interval '1 second';
