-- name: grouped
-- Records, and the sums of the UTC days that are over. Days are the session's time zone's.
WITH used AS (
    SELECT
        at::date AS day, client, kind, model, coalesce(agent_version, 0) AS agent_version,
        target, end_user, ending, 1 AS requests, estimated::integer AS estimated,
        (cost IS NOT NULL)::integer AS priced, prompt_tokens, completion_tokens, cached_tokens,
        coalesce(cost, 0) AS cost, coalesce(duration_ms, 0) AS duration_ms
    FROM usage_records
    WHERE tenant = $1 AND at >= $2::text::timestamptz AND at < $3::text::timestamptz
    UNION ALL
    SELECT
        day, client, kind, model, agent_version, target, end_user, ending, requests, estimated,
        priced, prompt_tokens, completion_tokens, cached_tokens, cost, duration_ms
    FROM usage_days
    WHERE tenant = $1 AND day >= ($2::text::timestamptz AT TIME ZONE 'UTC')::date
        AND day::timestamp AT TIME ZONE 'UTC' < $3::text::timestamptz
)
SELECT
    {groups}
    coalesce(sum(requests), 0)::bigint AS requests,
    coalesce(sum(prompt_tokens), 0)::bigint AS prompt_tokens,
    coalesce(sum(completion_tokens), 0)::bigint AS completion_tokens,
    coalesce(sum(cached_tokens), 0)::bigint AS cached_tokens,
    coalesce(sum(cost), 0)::bigint AS cost,
    coalesce(sum(priced), 0)::bigint AS priced_requests,
    coalesce(sum(estimated), 0)::bigint AS estimated_requests,
    coalesce(sum(duration_ms), 0)::double precision AS duration_ms
FROM used
WHERE ($4::text IS NULL OR client = $4) AND ($5::text IS NULL OR model = $5)
    AND ($6::text IS NULL OR target = $6) AND ($7::text IS NULL OR end_user = $7)
    AND ($8::text IS NULL OR ending = $8)
    AND (NOT $9::boolean OR target LIKE 'engine/%')
{grouped}
LIMIT $10

-- name: records
SELECT row_to_json(r)::text AS record, at, id
FROM usage_records AS r
WHERE tenant = $1 AND at >= $2::text::timestamptz AND at < $3::text::timestamptz
    AND ($4::text IS NULL OR client = $4) AND ($5::text IS NULL OR model = $5)
    AND ($6::text IS NULL OR target = $6) AND ($7::text IS NULL OR end_user = $7)
    AND ($8::text IS NULL OR ending = $8)
    AND ($9::timestamptz IS NULL OR (at, id) > ($9, $10::uuid))
ORDER BY at, id
LIMIT $11

-- name: hours
SELECT extract(epoch FROM least($2::text::timestamptz, now()) - $1::text::timestamptz) / 3600
