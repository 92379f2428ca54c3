"""`/admin/budgets`: what may be spent, by whom, in a day or a month, and what is left of it."""

import re
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from auth.admin.clients import get_client
from auth.admin.tenants import seen_tenant
from auth.errors import UnknownClient
from auth.verify import named_as_end_user
from gateway.errors import InvalidRequest
from gateway.govern.budgets_admin import BudgetState
from gateway.govern.budgets_lease import Period
from gateway.govern.prices import dollars, nanos
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import Deleted, ListPage
from gateway.routes.pages import Limit, page, timestamp

_USD = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
Usd = Annotated[str, Meta(description="A decimal number of US dollars", examples=["12.50"])]
_Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\u0000-\u001f]*$(?!\n)")]


class CreateBudget(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /admin/budgets`. `client` and `end_user`: one's name, or `*` for each apart.

    Without them it counts what the whole tenant spends, or the whole client.
    """

    amount_usd: Usd
    period: Period
    tenant: _Name | None = None
    client: _Name | None = None
    end_user: _Name | None = None


class UpdateBudget(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PATCH /admin/budgets/{id}`."""

    amount_usd: Usd


class BudgetObject(msgspec.Struct, kw_only=True):
    """A budget and its current period.

    `left_usd` is null where everybody has a budget of their own; `spent_usd` is all of theirs.
    """

    id: str
    tenant: str
    client: str | None
    end_user: str | None
    period: Period
    amount_usd: str
    spent_usd: str
    reserved_usd: str
    unaccounted_usd: str
    left_usd: str | None
    begins_anew_at: int
    created_at: int
    object: Literal["budget"] = "budget"


@post("/", operation_id="create_budget")
async def create(
    data: JSONBody[CreateBudget], caller: Caller, services: Provided
) -> Response[BudgetObject]:
    """Make a budget, of the caller's own tenant unless another is named."""
    tenant = caller.tenant if data.tenant is None else data.tenant
    if data.end_user and not data.client:
        raise InvalidRequest("end_user: name the client too, or `*`", param="client")
    if data.end_user and not named_as_end_user(data.end_user):
        raise InvalidRequest(
            "end_user: 1 to 256 visible ASCII characters, as in requests: percent-encode others",
            param="end_user",
        )
    if data.client and data.client != "*":
        client = await get_client(services.desk, caller, data.client)
        if client.tenant != tenant:
            raise UnknownClient(data.client)
    subject = (data.client or "", data.end_user or "")
    made = await services.budgets.create(
        caller, tenant, subject, data.period, _amount(data.amount_usd)
    )
    await services.governor.money.budgets.refresh()
    return Response(budget_object(made), status_code=201)


@get("/", operation_id="list_budgets")
async def list_all(
    caller: Caller,
    services: Provided,
    limit: Limit = 20,
    after: FromQuery[str | None] = None,
    tenant: FromQuery[str | None] = None,
) -> ListPage[BudgetObject]:
    """List a tenant's budgets, the oldest first; an operator names any tenant."""
    whose = await seen_tenant(services.desk, caller, tenant)
    rows = await services.budgets.list_all(caller, whose, limit=limit + 1, after=after)
    return page(rows, limit, budget_object)


@get("/{budget_id:str}", operation_id="get_budget")
async def get_one(budget_id: FromPath[str], caller: Caller, services: Provided) -> BudgetObject:
    """Return one budget, and what is left of it."""
    return budget_object(await services.budgets.get(caller, budget_id))


@patch("/{budget_id:str}", operation_id="update_budget")
async def update(
    budget_id: FromPath[str], data: JSONBody[UpdateBudget], caller: Caller, services: Provided
) -> BudgetObject:
    """Raise or lower a budget, from now on in its current period."""
    changed = await services.budgets.update(caller, budget_id, _amount(data.amount_usd))
    await services.governor.money.budgets.refresh()
    return budget_object(changed)


@delete("/{budget_id:str}", status_code=200, operation_id="delete_budget")
async def remove(budget_id: FromPath[str], caller: Caller, services: Provided) -> Deleted:
    """Lift a budget; what was spent of it is forgotten, the usage records stay."""
    await services.budgets.delete(caller, budget_id)
    await services.governor.money.budgets.refresh()
    return Deleted(budget_id, "budget.deleted")


def budget_object(state: BudgetState) -> BudgetObject:
    """Return a budget for the wire."""
    left = state.amount - state.spent - state.reserved - state.unaccounted
    apart = "*" in (state.client, state.end_user)
    return BudgetObject(
        id=state.id,
        tenant=state.tenant,
        client=state.client or None,
        end_user=state.end_user or None,
        period=state.period,
        amount_usd=_usd(state.amount),
        spent_usd=_usd(state.spent),
        reserved_usd=_usd(state.reserved),
        unaccounted_usd=_usd(state.unaccounted),
        left_usd=None if apart else _usd(max(left, 0)),
        begins_anew_at=timestamp(state.ends_at),
        created_at=timestamp(state.created_at),
    )


def _amount(usd: str) -> int:
    if not _USD.fullmatch(usd):
        message = "amount_usd: give a decimal number of dollars, such as 12.50"
        raise InvalidRequest(message, param="amount_usd")
    return nanos(Decimal(usd))


def _usd(amount: int) -> str:
    return f"{dollars(amount):.9f}".rstrip("0").rstrip(".")


ROUTER = Router(
    "/admin/budgets",
    route_handlers=[create, list_all, get_one, update, remove],
    opt=needs("admin"),
    tags=["administration"],
)
