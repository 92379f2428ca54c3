"""Where administration is done: in a transaction that sees what the caller may, then announced."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from auth.clients import QUERY_TIMEOUT_S
from auth.revocations import Announcer
from auth.secrets import SecretBox
from config.postgres import Connection, tenant_transaction
from config.scope import SCOPES, TenantScope
from config.settings import AuthSettings

SHELL = TenantScope(tenant="", client="", scopes=frozenset(SCOPES), role="operator")
"""The caller of commands that work on the database itself: whoever can do that may do all."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What administration works with.

    Attributes:
        db: Works as `naru_auth`.
        box: Hashes secrets, seals signing keys.
        settings: Of the signing keys.
        announcer: Tells the other processes to look.
    """

    db: asyncpg.Pool
    box: SecretBox
    settings: AuthSettings
    announcer: Announcer

    @asynccontextmanager
    async def reading(self, caller: TenantScope) -> AsyncIterator[Connection]:
        """Open a transaction that sees the caller's tenant; every one for an operator."""
        async with (
            asyncio.timeout(QUERY_TIMEOUT_S),
            tenant_transaction(self.db, view(caller)) as con,
        ):
            yield con

    @asynccontextmanager
    async def changing(self, caller: TenantScope) -> AsyncIterator[Connection]:
        """The same; what was changed is announced after the commit."""
        async with self.reading(caller) as con:
            yield con
        await self.announcer.announce()


def view(caller: TenantScope) -> str:
    """Return the tenant whose objects the caller sees; empty for all."""
    return "" if caller.role == "operator" else caller.tenant
