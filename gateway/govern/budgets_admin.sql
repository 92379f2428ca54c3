-- name: create
INSERT INTO budgets (id, tenant, client, end_user, period, amount)
VALUES ($1, $2, $3, $4, $5, $6)

-- name: tenant_of
-- As `naru_jobs`, which knows every tenant's budgets.
SELECT tenant FROM budgets WHERE id = $1

-- name: list
SELECT b.id, b.tenant, b.client, b.end_user, b.period, b.amount, b.created_at,
       coalesce(p.spent, 0)::bigint AS spent, coalesce(l.reserved, 0)::bigint AS reserved,
       coalesce(l.unaccounted, 0)::bigint AS unaccounted,
       (date_trunc(b.period, now() AT TIME ZONE 'UTC') + ('1 ' || b.period)::interval)
           AT TIME ZONE 'UTC' AS ends_at
FROM budgets b
LEFT JOIN LATERAL (
    SELECT sum(spent) AS spent FROM budget_periods WHERE budget = b.id AND ends > now()
) p ON true
LEFT JOIN LATERAL (
    SELECT sum(greatest(granted - booked, 0)) FILTER (WHERE expires_at > now()) AS reserved,
           sum(greatest(granted - safe - booked, 0)) FILTER (WHERE expires_at <= now())
               AS unaccounted
    FROM budget_leases WHERE period IN
        (SELECT id FROM budget_periods WHERE budget = b.id AND ends > now())
) l ON true
WHERE b.tenant = $1 AND ($2::text IS NULL OR b.id = $2)
    AND ($3::text IS NULL OR (b.created_at, b.id) > (SELECT created_at, id FROM budgets
                                                     WHERE id = $3))
ORDER BY b.created_at, b.id LIMIT $4

-- name: update
UPDATE budgets SET amount = $3 WHERE tenant = $1 AND id = $2 RETURNING id

-- name: delete
DELETE FROM budgets WHERE tenant = $1 AND id = $2 RETURNING id
