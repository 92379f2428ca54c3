"""`/admin`: tenants, clients, secrets and keys, for callers with the scope `admin`.

How far a caller reaches is its role's business: `auth.admin`.
"""

from gateway.routes.admin import (
    api_keys,
    audit,
    budgets,
    clients,
    limits,
    signing_keys,
    tenants,
    usage,
)

ROUTERS = [
    *(tenants.ROUTER, clients.ROUTER, api_keys.ROUTER, signing_keys.ROUTER),
    *(audit.ROUTER, limits.ROUTER, usage.ROUTER, budgets.ROUTER),
]
