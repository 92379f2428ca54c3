"""`/admin/signing-keys`: for operators."""

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath, JSONBody

from auth.admin import signing_keys
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import Deleted
from gateway.routes.admin import wire


@get("/", operation_id="list_signing_keys")
async def list_all(caller: Caller, services: Provided) -> wire.SigningKeyList:
    """List the keys that sign tokens, will, or did."""
    found = await signing_keys.list_signing_keys(services.desk, caller)
    return wire.SigningKeyList([wire.signing_key_object(key) for key in found])


@post("/", operation_id="rotate_signing_key")
async def rotate(
    data: JSONBody[wire.RotateSigningKey], caller: Caller, services: Provided
) -> Response[wire.SigningKeyObject]:
    """Make the next signing key; it is published before it signs, unless it must sign `now`."""
    made = await signing_keys.rotate_signing_key(services.desk, caller, now=data.now)
    return Response(wire.signing_key_object(made), status_code=201)


@delete("/{kid:str}", status_code=200, operation_id="remove_signing_key")
async def remove(kid: FromPath[str], caller: Caller, services: Provided) -> Deleted:
    """Remove a key that leaked: its tokens die at once, and another key signs."""
    await signing_keys.remove_signing_key(services.desk, caller, kid)
    return Deleted(kid, "signing_key.deleted")


ROUTER = Router(
    "/admin/signing-keys",
    route_handlers=[list_all, rotate, remove],
    opt=needs("admin"),
    tags=["administration"],
)
