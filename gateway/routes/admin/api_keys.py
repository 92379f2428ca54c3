"""`/admin/keys`: API keys of every client the caller sees."""

from litestar import Router, delete, get
from litestar.params import FromPath, FromQuery

from auth.admin import api_keys
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import ListPage
from gateway.routes.admin.wire import KeyObject, key_object
from gateway.routes.pages import Limit, page


@get("/", operation_id="list_keys")
async def list_all(
    caller: Caller, services: Provided, limit: Limit = 20, after: FromQuery[str | None] = None
) -> ListPage[KeyObject]:
    """List the API keys, the oldest first."""
    rows = await api_keys.list_keys(services.desk, caller, limit=limit + 1, after=after)
    return page(rows, limit, key_object)


@get("/{key_id:str}", operation_id="get_key")
async def get_one(key_id: FromPath[str], caller: Caller, services: Provided) -> KeyObject:
    """Return one API key, without the key itself."""
    return key_object(await api_keys.get_key(services.desk, caller, key_id))


@delete("/{key_id:str}", status_code=200, operation_id="disable_key")
async def disable(key_id: FromPath[str], caller: Caller, services: Provided) -> KeyObject:
    """Disable an API key for good."""
    return key_object(await api_keys.disable_key(services.desk, caller, key_id))


ROUTER = Router(
    "/admin/keys",
    route_handlers=[list_all, get_one, disable],
    opt=needs("admin"),
    tags=["administration"],
)
