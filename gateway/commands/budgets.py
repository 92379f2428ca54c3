"""`naru budget`, over the service's own API."""

from typing import Any
from urllib.parse import urlencode

from gateway.commands.remote import call, connect, segment
from gateway.credentials import Credentials

_PATH = "/admin/budgets"


async def make_budget(credentials: Credentials, body: object) -> str:
    """Make a budget and return its id.

    Raises:
        ConfigError: The service does not answer, or refuses.
    """
    async with connect(credentials) as session:
        return str((await call(session, "POST", _PATH, json=body))["id"])


async def at_budget(
    credentials: Credentials, method: str, budget: str, body: object = None
) -> dict[str, Any]:
    """Return what the service answers to a method at a budget.

    Raises:
        ConfigError: As `make_budget`.
    """
    async with connect(credentials) as session:
        return await call(session, method, f"{_PATH}/{segment(budget)}", json=body)


async def list_budgets(credentials: Credentials, tenant: str | None) -> list[str]:
    """Return a line for each budget of a tenant.

    Raises:
        ConfigError: The service does not answer, or refuses.
    """
    lines: list[str] = []
    more: dict[str, str] = {"limit": "100"} | ({"tenant": tenant} if tenant else {})
    async with connect(credentials) as session:
        while True:
            found = await call(session, "GET", f"{_PATH}?{urlencode(more)}")
            lines += [_line(budget) for budget in found["data"]]
            if not found["has_more"]:
                return lines
            more["after"] = found["last_id"]


def _line(budget: dict[str, Any]) -> str:
    whose = "/".join(budget[name] for name in ("tenant", "client", "end_user") if budget[name])
    left = "" if budget["left_usd"] is None else f"  {budget['left_usd']} left"
    spent = f"{budget['spent_usd']} of {budget['amount_usd']} USD spent"
    return f"{budget['id']}  {whose}  {budget['period']}  {spent}{left}"
