-- name: find_tenant
SELECT id, name, created_at, disabled_at FROM tenants WHERE id = $1

-- name: list_tenants
SELECT id, name, created_at, disabled_at FROM tenants
WHERE $1::timestamptz IS NULL OR (created_at, id) > ($1, $2)
ORDER BY created_at, id LIMIT $3

-- name: update_tenant
UPDATE tenants SET
    name = coalesce($2, name),
    disabled_at = CASE WHEN $3::boolean IS NULL THEN disabled_at
                       WHEN $3 THEN coalesce(disabled_at, now()) END
WHERE id = $1
RETURNING id, name, created_at, disabled_at

-- name: raise_generations
UPDATE clients SET generation = generation + 1 WHERE tenant = $1
RETURNING id, generation,
          role = 'operator' AND 'admin' = ANY (scopes) AND disabled_at IS NULL AS operated
