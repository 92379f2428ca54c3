"""`/admin/audit`: who did what."""

from dataclasses import asdict, dataclass
from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, QueryParameter

from auth.admin.desk import view
from auth.admin.tenants import seen_tenant
from gateway.errors import InvalidRequest
from gateway.govern.audit import LAST_SEQ, LATEST_S, SYSTEM
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.chat_request import JsonObject
from gateway.routes.pages import Limit

_decode = msgspec.json.Decoder().decode


class AuditPage(msgspec.Struct):
    """Records, the newest first; `next` is the `before` of the next page, null on the last one."""

    data: list[JsonObject]
    next: int | None
    object: str = "list"


@dataclass(frozen=True, slots=True)
class Sought:
    """Which records are asked for; times are in milliseconds since 1970."""

    before: int | None
    action: str | None
    since_ms: int | None
    until_ms: int | None


def sought(
    before: Annotated[int | None, QueryParameter(ge=0, le=LAST_SEQ)] = None,
    action: FromQuery[str | None] = None,
    since: FromQuery[int | None] = None,
    until: FromQuery[int | None] = None,
) -> Sought:
    """Return what the query asks for; its times are in seconds."""
    return Sought(before, action, _ms(since), _ms(until))


@get("/", operation_id="list_audit_records")
async def list_all(
    caller: Caller,
    services: Provided,
    which: NamedDependency[Sought],
    limit: Limit = 20,
    tenant: FromQuery[str | None] = None,
) -> AuditPage:
    """Return what was recorded; `since` and `until` are in seconds since 1970.

    An operator names any tenant; `@system` is the chain of what is nobody's.
    """
    nobodys = tenant == SYSTEM and not view(caller)
    chain = SYSTEM if nobodys else await seen_tenant(services.desk, caller, tenant)
    found = await services.audit.page(chain, **asdict(which), limit=limit + 1)
    records = [_decode(record) for record in found[:limit]]
    return AuditPage(records, records[-1]["seq"] if len(found) > limit else None)


def _ms(seconds: int | None) -> int | None:
    if seconds is not None and not 0 <= seconds < LATEST_S:
        raise InvalidRequest("since, until: give seconds since 1970", param="since")
    return None if seconds is None else seconds * 1000


ROUTER = Router(
    "/admin/audit",
    route_handlers=[list_all],
    dependencies={"which": Provide(sought, sync_to_thread=False)},
    opt=needs("admin"),
    tags=["administration"],
)
