"""`/admin/limits`: what a tenant, its clients, keys, end users and models may take."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET, UnsetType

from auth.admin.api_keys import ApiKey, get_key
from auth.admin.clients import get_client
from auth.admin.tenants import seen_tenant
from auth.clients import Client
from auth.errors import UnknownObject
from config.scope import TenantScope
from gateway.govern.limits_rules import COUNTING, Measure, Per
from gateway.govern.limits_store import Rule
from gateway.guards import Caller, needs
from gateway.lifespan import Provided, Services
from gateway.openai.knowledge import Deleted, ListPage
from gateway.routes.pages import Limit, page, timestamp

_Most = int | UnsetType | None


class UpdateLimit(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of `PATCH /admin/limits/{id}`: what is left out stays, null is not limited."""

    requests_per_minute: _Most = UNSET
    tokens_per_minute: _Most = UNSET
    tokens_per_day: _Most = UNSET
    concurrent_requests: _Most = UNSET
    concurrent_streams: _Most = UNSET

    def values(self) -> Mapping[Measure, int | None]:
        """Return the limits that were sent."""
        sent = ((measure, getattr(self, measure)) for measure in COUNTING)
        return {measure: most for measure, most in sent if most is not UNSET}


class CreateLimit(UpdateLimit, kw_only=True):
    """Body of `POST /admin/limits`.

    `subject` names the client, key, end user or model; without it the rule is of each one that has
    none of its own. `tenant` is the caller's own unless an operator names another.
    """

    per: Per
    subject: str = ""
    tenant: str | None = None


class LimitObject(msgspec.Struct, kw_only=True):
    """A rule; null stands for everyone of the kind, and for what is not limited."""

    id: str
    tenant: str
    per: Per
    subject: str | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    tokens_per_day: int | None
    concurrent_requests: int | None
    concurrent_streams: int | None
    created_at: int
    object: Literal["limit"] = "limit"


@post("/", operation_id="create_limit")
async def create(
    data: JSONBody[CreateLimit], caller: Caller, services: Provided
) -> Response[LimitObject]:
    """Make a rule; an admin's are of its tenant, and those of a tenant itself an operator's."""
    await _check_known(data, caller, services)
    made = await services.limit_rules.create(
        caller, data.per, data.subject, data.values(), tenant=data.tenant
    )
    return Response(_object(made), status_code=201)


@get("/", operation_id="list_limits")
async def list_all(
    caller: Caller,
    services: Provided,
    limit: Limit = 20,
    after: FromQuery[str | None] = None,
    tenant: FromQuery[str | None] = None,
) -> ListPage[LimitObject]:
    """List the rules, the oldest first; an operator's without `tenant` are all there are."""
    named = None if tenant is None else await seen_tenant(services.desk, caller, tenant)
    rules = await services.limit_rules.page(caller, tenant=named, limit=limit + 1, after=after)
    return page(rules, limit, _object)


@get("/{limit_id:str}", operation_id="get_limit")
async def get_one(limit_id: FromPath[str], caller: Caller, services: Provided) -> LimitObject:
    """Return a rule."""
    return _object(await services.limit_rules.find(caller, limit_id))


@patch("/{limit_id:str}", operation_id="update_limit")
async def update(
    limit_id: FromPath[str], data: JSONBody[UpdateLimit], caller: Caller, services: Provided
) -> LimitObject:
    """Change what a rule allows; it is so everywhere within 2 seconds."""
    return _object(await services.limit_rules.update(caller, limit_id, data.values()))


@delete("/{limit_id:str}", status_code=200, operation_id="delete_limit")
async def remove(limit_id: FromPath[str], caller: Caller, services: Provided) -> Deleted:
    """Remove a rule; what is more general applies again."""
    await services.limit_rules.delete(caller, limit_id)
    return Deleted(limit_id, "limit.deleted")


async def _check_known(data: CreateLimit, caller: TenantScope, services: Services) -> None:
    """Look for the client or the key; a model may come later, and nobody keeps end users.

    Raises:
        UnknownObject: The tenant has none of this id.
    """
    if data.per not in ("client", "key") or not data.subject:
        return
    find = get_client if data.per == "client" else get_key
    found: Client | ApiKey = await find(services.desk, caller, data.subject)
    if found.tenant != (caller.tenant if data.tenant is None else data.tenant):
        raise UnknownObject("client" if data.per == "client" else "API key", data.subject)


def _object(rule: Rule) -> LimitObject:
    amounts: dict[str, Any] = {measure: rule.amounts.get(measure) for measure in COUNTING}
    return LimitObject(
        id=rule.id,
        tenant=rule.tenant,
        per=rule.per,
        subject=rule.subject or None,
        created_at=timestamp(rule.created_at),
        **amounts,
    )


ROUTER = Router(
    "/admin/limits",
    route_handlers=[create, list_all, get_one, update, remove],
    opt=needs("admin"),
    tags=["administration"],
)
