-- name: add
-- What is there already stays as it is: a batch may come twice. `$2` is how long records are kept
-- after their day, so that a whole day goes at once.
-- Returned are those that were there: none as a rule.
WITH given AS (
    SELECT *, date_trunc('day', at, 'UTC') + interval '1 day' + $2::interval AS expiry
    FROM json_populate_recordset(NULL::usage_records, $1::text::json)
), added AS (
    INSERT INTO usage_records (
        id, tenant, at, request_id, client, key, end_user, kind, model, agent_version, target,
        stream, prompt_tokens, completion_tokens, cached_tokens, estimated, cost, first_token_ms,
        duration_ms, ending, fallback, attempts, verdicts, expires_at
    )
    SELECT
        id, tenant, at, request_id, client, key, end_user, kind, model, agent_version, target,
        stream, prompt_tokens, completion_tokens, cached_tokens, estimated, cost, first_token_ms,
        duration_ms, ending, fallback, attempts, verdicts, expiry
    FROM given
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT id FROM given EXCEPT SELECT id FROM added

-- name: expired_tenants
-- As `naru_jobs`, which sees of every tenant what is over.
SELECT DISTINCT tenant FROM usage_records WHERE expires_at < now()

-- name: roll_up
WITH gone AS (DELETE FROM usage_records WHERE expires_at < now() RETURNING *)
INSERT INTO usage_days AS days
SELECT
    tenant, (at AT TIME ZONE 'UTC')::date, client, kind, model, coalesce(agent_version, 0), target,
    end_user, ending,
    count(*), count(*) FILTER (WHERE estimated), count(cost), sum(prompt_tokens),
    sum(completion_tokens), sum(cached_tokens), coalesce(sum(cost), 0),
    coalesce(sum(duration_ms), 0)
FROM gone
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
ON CONFLICT (tenant, day, client, kind, model, agent_version, target, end_user, ending)
DO UPDATE SET
    requests = days.requests + excluded.requests,
    estimated = days.estimated + excluded.estimated,
    priced = days.priced + excluded.priced,
    prompt_tokens = days.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = days.completion_tokens + excluded.completion_tokens,
    cached_tokens = days.cached_tokens + excluded.cached_tokens,
    cost = days.cost + excluded.cost,
    duration_ms = days.duration_ms + excluded.duration_ms
