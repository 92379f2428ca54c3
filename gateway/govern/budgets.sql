-- name: list_known
SELECT id, tenant, client, end_user, period, amount FROM budgets

-- name: lease
SELECT l.period, l.ends_in_s, l.granted, l.unspent
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[],
            $8::bigint[], $9::bigint[], $10::bigint[])
    WITH ORDINALITY AS asked (tenant, budget, client, end_user, period, lease, number, want, slack,
                              safe, place)
LEFT JOIN LATERAL lease_budget(asked.tenant, asked.budget, asked.client, asked.end_user,
    asked.period, asked.lease, asked.number, asked.want, asked.slack, asked.safe, $11) AS l ON true
ORDER BY asked.place

-- name: tenants
-- As `naru_jobs`, which knows every tenant's budgets.
SELECT DISTINCT tenant FROM budgets ORDER BY tenant

-- name: held_periods
SELECT DISTINCT period FROM budget_leases WHERE starts_with(id, $1) AND granted > booked

-- name: close_leases
UPDATE budget_leases SET granted = booked, safe = 0
WHERE starts_with(id, $1) AND granted > booked

-- name: lock_periods
SELECT id FROM budget_periods WHERE id = ANY ($1::bigint[])
ORDER BY budget COLLATE "C", client COLLATE "C", end_user COLLATE "C", id FOR UPDATE

-- name: book_periods
UPDATE budget_periods SET spent = spent + costs.cost
FROM (SELECT period, sum(cost)::bigint AS cost FROM unnest($1::bigint[], $2::bigint[])
      AS booked (period, cost) GROUP BY period) AS costs
WHERE id = costs.period

-- name: book_leases
UPDATE budget_leases SET booked = booked + costs.cost
FROM (SELECT lease, sum(cost)::bigint AS cost FROM unnest($1::text[], $2::bigint[])
      AS booked (lease, cost) GROUP BY lease) AS costs
WHERE id = costs.lease
