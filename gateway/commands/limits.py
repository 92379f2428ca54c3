"""Limits, through the running service."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from gateway.commands.remote import call, connect, segment
from gateway.credentials import Credentials
from gateway.govern.limits_rules import COUNTING

_PATH = "/admin/limits"


async def make_limit(credentials: Credentials, rule: Mapping[str, object]) -> str:
    """Make a rule and return its id.

    Raises:
        ConfigError: The service does not answer, or refuses it.
    """
    async with connect(credentials) as session:
        return str((await call(session, "POST", _PATH, json=rule))["id"])


async def list_limits(credentials: Credentials, tenant: str | None) -> list[str]:
    """Return a line for each rule.

    Raises:
        ConfigError: As `make_limit`.
    """
    lines: list[str] = []
    query = {"limit": "100"} | ({"tenant": tenant} if tenant else {})
    async with connect(credentials) as session:
        more = True
        while more:
            page = await call(session, "GET", f"{_PATH}?{urlencode(query)}")
            lines += [_line(rule) for rule in page["data"]]
            more, query["after"] = page["has_more"], page["last_id"]
    return lines


async def remove_limit(credentials: Credentials, limit: str) -> None:
    """Remove a rule.

    Raises:
        ConfigError: As `make_limit`.
    """
    async with connect(credentials) as session:
        await call(session, "DELETE", f"{_PATH}/{segment(limit)}")


def _line(rule: Mapping[str, Any]) -> str:
    limits = [f"{measure}={rule[measure]}" for measure in COUNTING if rule[measure] is not None]
    subject = rule["subject"] or "(each)"
    return "  ".join([rule["id"], rule["tenant"], rule["per"], subject, *(limits or ["unlimited"])])
