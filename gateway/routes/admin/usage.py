"""`/admin/usage`: what was used, by whom, and what it cost."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, QueryParameter

from auth.admin import tenants as platform
from auth.admin.permissions import check_role
from config.scope import TenantScope
from gateway.errors import InvalidRequest
from gateway.govern import usage_report
from gateway.govern.usage_export import as_csv
from gateway.govern.usage_report import RECORD, SUMS, BreakEven, Span, span_of
from gateway.guards import Caller, needs
from gateway.lifespan import Provided, Services
from gateway.openai.chat_request import JsonObject

_ALL = "*"
_decode = msgspec.json.Decoder().decode

Asked = NamedDependency[Span]
RecordLimit = Annotated[int, QueryParameter(ge=1, le=10_000)]


class UsageList(msgspec.Struct):
    """Groups, or records; `next` is the `after` of the next page, null on the last one."""

    data: list[JsonObject]
    next: str | None = None
    object: str = "list"


def asked(  # noqa: PLR0913 - the query's parameters
    *,
    since: Annotated[str | None, QueryParameter(name="from")] = None,
    until: Annotated[str | None, QueryParameter(name="to")] = None,
    timezone: FromQuery[str] = "UTC",
    client: FromQuery[str | None] = None,
    model: FromQuery[str | None] = None,
    target: FromQuery[str | None] = None,
    end_user: FromQuery[str | None] = None,
    ending: FromQuery[str | None] = None,
) -> Span:
    """Return what the query asks for."""
    named = {"client": client, "model": model, "target": target}
    return span_of(since, until, timezone, **named, end_user=end_user, ending=ending)


@get("/", operation_id="get_usage")
async def sums(
    caller: Caller,
    services: Provided,
    span: Asked,
    group_by: FromQuery[str] = "day",
    tenant: FromQuery[str | None] = None,
    format: FromQuery[Literal["json", "csv"]] = "json",  # noqa: A002 - the query's parameter
) -> Response[UsageList]:
    """Return requests, tokens and cost by groups: `group_by=day,model`.

    An operator names any tenant, or `*` for all of them.
    """
    by = [name for name in group_by.split(",") if name]
    rows: list[dict[str, Any]] = []
    for each in await _tenants(caller, services, tenant):
        found = await usage_report.grouped(services.pool, each, span, by)
        rows += [{"tenant": each, **row} for row in found]
    return _csv(rows, ("tenant", *by, *SUMS)) if format == "csv" else Response(UsageList(rows))


@get("/records", operation_id="list_usage_records")
async def list_records(
    caller: Caller,
    services: Provided,
    span: Asked,
    limit: RecordLimit = 100,
    after: FromQuery[str | None] = None,
    tenant: FromQuery[str | None] = None,
    format: FromQuery[Literal["json", "ndjson", "csv"]] = "json",  # noqa: A002 - the same
) -> Response[UsageList]:
    """Return usage records, the oldest first; `x-naru-next` is the `after` of the next page."""
    (named,) = await _tenants(caller, services, tenant, most=1)
    page = await usage_report.records(services.pool, named, span, after=after, limit=limit)
    headers = {"x-naru-next": page.after} if page.after else {}
    if format == "ndjson":
        body: Any = b"".join(record + b"\n" for record in page.records)
        return Response(body, media_type="application/x-ndjson", headers=headers)
    rows = [_decode(record) for record in page.records]
    if format == "csv":
        return _csv(rows, RECORD, headers)
    return Response(UsageList(rows, page.after), headers=headers)


@get("/break-even", operation_id="get_break_even")
async def break_even(
    caller: Caller,
    services: Provided,
    span: Asked,
    gpu_hour_usd: Annotated[float | None, QueryParameter(gt=0, le=1_000_000)] = None,
    traffic: FromQuery[Literal["engines", "all"]] = "engines",
    tenant: FromQuery[str | None] = None,
) -> BreakEven:
    """Return what the same tokens would have cost at hosted models, and an hour of ours must."""
    price = gpu_hour_usd or services.gpu_hour_usd
    if price is None:
        message = "gpu_hour_usd: say what an hour of your engines costs, or set `ledger`'s"
        raise InvalidRequest(message, param="gpu_hour_usd")
    named = await _tenants(caller, services, tenant)
    engines = traffic == "engines"
    return await usage_report.break_even(services.pool, named, span, price, engines=engines)


async def _tenants(
    caller: TenantScope, services: Services, named: str | None, most: int | None = None
) -> list[str]:
    """Return whose usage is asked for.

    Raises:
        NotPermitted: The caller is no admin, or no operator for all of them.
        UnknownTenant: There is none that the caller sees.
        InvalidRequest: It is more than one where one is needed.
    """
    check_role(caller, "admin")
    if named != _ALL:
        return [await platform.seen_tenant(services.desk, caller, named)]
    check_role(caller, "operator")
    if most == 1:
        raise InvalidRequest("tenant: name one", param="tenant")
    return [each.id for each in await platform.list_tenants(services.desk, caller)]


def _csv(
    rows: list[dict[str, Any]], columns: Sequence[str], headers: dict[str, str] | None = None
) -> Response[UsageList]:
    body: Any = as_csv(rows, columns)
    return Response(body, media_type="text/csv", headers=headers)


ROUTER = Router(
    "/admin/usage",
    route_handlers=[sums, list_records, break_even],
    dependencies={"span": Provide(asked, sync_to_thread=False)},
    opt=needs("admin"),
    tags=["administration"],
)
