"""`/admin/tenants`: for operators."""

from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from auth.admin import tenants
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import ListPage
from gateway.routes.admin import wire
from gateway.routes.admin.wire import TenantObject, tenant_object
from gateway.routes.pages import Limit, page


@post("/", operation_id="create_tenant")
async def create(
    data: JSONBody[wire.CreateTenant], caller: Caller, services: Provided
) -> Response[TenantObject]:
    """Make a tenant."""
    made = await tenants.create_tenant(services.desk, caller, data.id, data.name)
    return Response(tenant_object(made), status_code=201)


@get("/", operation_id="list_tenants")
async def list_all(
    caller: Caller, services: Provided, limit: Limit = 20, after: FromQuery[str | None] = None
) -> ListPage[TenantObject]:
    """List the tenants, the oldest first."""
    rows = await tenants.list_tenants(services.desk, caller, limit=limit + 1, after=after)
    return page(rows, limit, tenant_object)


@get("/{tenant_id:str}", operation_id="get_tenant")
async def get_one(tenant_id: FromPath[str], caller: Caller, services: Provided) -> TenantObject:
    """Return one tenant."""
    return tenant_object(await tenants.get_tenant(services.desk, caller, tenant_id))


@patch("/{tenant_id:str}", operation_id="update_tenant")
async def update(
    tenant_id: FromPath[str], data: JSONBody[wire.UpdateTenant], caller: Caller, services: Provided
) -> TenantObject:
    """Rename, disable or enable a tenant; a disabled one's clients and keys are refused."""
    changed = await tenants.update_tenant(services.desk, caller, tenant_id, **data.given())
    return tenant_object(changed)


@delete("/{tenant_id:str}", status_code=200, operation_id="disable_tenant")
async def disable(tenant_id: FromPath[str], caller: Caller, services: Provided) -> TenantObject:
    """Disable a tenant; it is kept, with all that belongs to it."""
    changed = await tenants.update_tenant(services.desk, caller, tenant_id, disabled=True)
    return tenant_object(changed)


ROUTER = Router(
    "/admin/tenants",
    route_handlers=[create, list_all, get_one, update, disable],
    opt=needs("admin"),
    tags=["administration"],
)
