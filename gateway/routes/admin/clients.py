"""`/admin/clients`: OAuth clients, their secrets, and the API keys made for them."""

from typing import Any, TypeVar

from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from auth.admin import api_keys, client_secrets, clients
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import Deleted, ListPage
from gateway.routes.admin import wire
from gateway.routes.admin.wire import ClientObject, client_object
from gateway.routes.pages import Limit, page

_Shown = TypeVar("_Shown")


def shown_once(content: _Shown) -> Response[_Shown]:
    """Return the answer that carries a secret."""
    return Response(content, status_code=201, headers={"cache-control": "no-store"})


@post("/", operation_id="create_client")
async def create(
    data: JSONBody[wire.CreateClient], caller: Caller, services: Provided
) -> Response[wire.CreatedClient]:
    """Make a client, of the caller's own tenant unless another is named."""
    made = await clients.create_client(services.desk, caller, **data.given())
    fields: dict[str, Any] = wire.client_fields(made.client)
    return shown_once(wire.CreatedClient(**fields, client_secret=made.secret or None))


@get("/", operation_id="list_clients")
async def list_all(
    caller: Caller,
    services: Provided,
    limit: Limit = 20,
    after: FromQuery[str | None] = None,
    tenant: FromQuery[str | None] = None,
) -> ListPage[ClientObject]:
    """List the clients, the oldest first; an operator's without `tenant` are all there are."""
    rows = await clients.list_clients(
        services.desk, caller, limit=limit + 1, after=after, tenant=tenant
    )
    return page(rows, limit, client_object)


@get("/{client_id:str}", operation_id="get_client")
async def get_one(client_id: FromPath[str], caller: Caller, services: Provided) -> ClientObject:
    """Return one client."""
    return client_object(await clients.get_client(services.desk, caller, client_id))


@patch("/{client_id:str}", operation_id="update_client")
async def update(
    client_id: FromPath[str], data: JSONBody[wire.UpdateClient], caller: Caller, services: Provided
) -> ClientObject:
    """Change a client; whatever takes a right away ends its tokens."""
    changed = await clients.update_client(services.desk, caller, client_id, **data.given())
    return client_object(changed)


@delete("/{client_id:str}", status_code=200, operation_id="disable_client")
async def disable(client_id: FromPath[str], caller: Caller, services: Provided) -> ClientObject:
    """Disable a client, its tokens and its keys; it is kept, with its sessions."""
    changed = await clients.update_client(services.desk, caller, client_id, disabled=True)
    return client_object(changed)


@post("/{client_id:str}/secrets", operation_id="rotate_client_secret")
async def rotate_secret(
    client_id: FromPath[str], data: JSONBody[wire.RotateSecret], caller: Caller, services: Provided
) -> Response[wire.CreatedSecret]:
    """Make a secret; older ones expire. An overlap of 0 ends them, and all tokens, at once."""
    made = await client_secrets.rotate_secret(
        services.desk, caller, client_id, overlap_s=data.overlap_s
    )
    fields: dict[str, Any] = wire.secret_fields(made.info)
    return shown_once(wire.CreatedSecret(**fields, client_secret=made.secret))


@get("/{client_id:str}/secrets", operation_id="list_client_secrets")
async def list_secrets(
    client_id: FromPath[str], caller: Caller, services: Provided
) -> wire.SecretList:
    """List a client's valid secrets, without the secrets themselves."""
    found = await client_secrets.list_secrets(services.desk, caller, client_id)
    return wire.SecretList([wire.SecretObject(**wire.secret_fields(secret)) for secret in found])


@delete(
    "/{client_id:str}/secrets/{secret_id:str}",
    status_code=200,
    operation_id="retire_client_secret",
)
async def retire_secret(
    client_id: FromPath[str], secret_id: FromPath[str], caller: Caller, services: Provided
) -> Deleted:
    """End a secret, and the client's tokens."""
    await client_secrets.retire_secret(services.desk, caller, client_id, secret_id)
    return Deleted(secret_id, "client.secret.deleted")


@post("/{client_id:str}/keys", operation_id="create_client_key")
async def create_key(
    client_id: FromPath[str], data: JSONBody[wire.CreateKey], caller: Caller, services: Provided
) -> Response[wire.CreatedKey]:
    """Make an API key of a client."""
    made = await api_keys.create_key(services.desk, caller, client_id, **data.given())
    fields: dict[str, Any] = wire.key_fields(made.info)
    return shown_once(wire.CreatedKey(**fields, key=made.key))


@get("/{client_id:str}/keys", operation_id="list_client_keys")
async def list_keys(
    client_id: FromPath[str],
    caller: Caller,
    services: Provided,
    limit: Limit = 20,
    after: FromQuery[str | None] = None,
) -> ListPage[wire.KeyObject]:
    """List a client's API keys, the oldest first."""
    rows = await api_keys.list_keys(
        services.desk, caller, limit=limit + 1, after=after, client_id=client_id
    )
    return page(rows, limit, wire.key_object)


ROUTER = Router(
    "/admin/clients",
    route_handlers=[
        *(create, list_all, get_one, update, disable),
        *(rotate_secret, list_secrets, retire_secret, create_key, list_keys),
    ],
    opt=needs("admin"),
    tags=["administration"],
)
