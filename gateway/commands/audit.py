"""The audit log, read and checked directly in the service's database."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import asyncpg
import msgspec

import auth
from auth.admin.tenants import get_tenant
from config import embedded
from config.errors import ConfigError
from config.load import load_settings
from config.postgres import open_pool, tenant_transaction
from config.settings import Settings
from gateway.commands.identity import administer
from gateway.govern.audit import LAST_SEQ, LATEST_S, SYSTEM, AuditLog, chains, inspect, prune
from gateway.govern.audit_chain import Inspection

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_PAGE = 500
_MOST_DAYS = 36_500

Print = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AuditDesk:
    """The log's tables, and the key of its hashes."""

    pool: asyncpg.Pool
    key: bytes

    async def named(self, tenant: str | None) -> list[str]:
        """Return the one chain that is named, or all there are."""
        return await chains(self.pool) if tenant is None else [tenant]


def with_audit(
    work: Callable[Concatenate[AuditDesk, str | None, _Given], Awaitable[_Result]],
    tenant: str | None,
    *arguments: _Given.args,
    **options: _Given.kwargs,
) -> _Result:
    """Do something with a tenant's chain, or with every one, in the service's database.

    Raises:
        ConfigError: The database does not answer, there is no such tenant, or it can't be done.
    """
    if tenant not in (None, SYSTEM):
        administer(get_tenant, tenant)

    async def do() -> _Result:
        async with _open(load_settings()) as desk:
            return await work(desk, tenant, *arguments, **options)

    return asyncio.run(do())


async def exported(
    desk: AuditDesk, tenant: str | None, since: int | None, until: int | None, show: Print
) -> None:
    """Print the records of a time, as JSON, one a line.

    Raises:
        ConfigError: A time is none.
    """
    since_ms, until_ms = _ms("--since", since), _ms("--until", until)
    log = AuditLog(desk.pool, desk.key)
    for chain in await desk.named(tenant):
        before: int | None = None
        while records := await log.page(
            chain,
            before=before,
            since_ms=since_ms,
            until_ms=until_ms,
            limit=_PAGE,
        ):
            for record in records:
                show(bytes(record).decode())
            before = _number(records[-1])


async def verified(
    desk: AuditDesk, tenant: str | None, anchors: Sequence[str], show: Print
) -> bool:
    """Check chains and print what was found; tell whether all hold."""
    kept = [_anchor(anchor) for anchor in anchors]
    named = [*await desk.named(tenant), *(chain for chain, _, _ in kept)]
    found = {chain: await inspect(desk.pool, desk.key, chain) for chain in named}
    for chain, inspection in found.items():
        show(_told(chain, inspection))
    holds = not any(inspection.fault for inspection in found.values())
    for chain, number, digest in kept:
        if number < found[chain].pruned[0] and not found[chain].fault:
            show(f"pruned {chain}: record {number} of the anchor is older than what is kept")
        elif fault := _mismatch(await _hash_of(desk.pool, found[chain], chain, number), digest):
            holds = False
            show(f"BROKEN {chain}: record {number} of the anchor {fault}")
    return holds


async def pruned(desk: AuditDesk, tenant: str | None, days: float, show: Print) -> None:
    """Delete what is older than that many days, and print how much it was.

    Raises:
        ConfigError: It is no number of days.
    """
    if not 0 <= days <= _MOST_DAYS:
        raise ConfigError(f"--days: give a number of days from 0 to {_MOST_DAYS:,}")
    before_ms = int((time.time() - days * 86400) * 1000)
    for chain in await desk.named(tenant):
        count = await prune(desk.pool, desk.key, chain, before_ms)
        show(f"{chain}: {count} records deleted")


def _ms(option: str, seconds: int | None) -> int | None:
    if seconds is not None and not 0 <= seconds < LATEST_S:
        raise ConfigError(f"{option}: give seconds since 1970")
    return None if seconds is None else seconds * 1000


def _anchor(text: str) -> tuple[str, int, str]:
    tenant, _, rest = text.partition(":")
    seq, _, digest = rest.partition(":")
    if not (seq.isdecimal() and len(seq) < 20 and int(seq) <= LAST_SEQ and digest):
        raise ConfigError(f"{text}: write an anchor as TENANT:SEQ:HASH")
    return tenant, int(seq), digest


def _told(chain: str, found: Inspection) -> str:
    if found.fault:
        return f"BROKEN {chain}: record {found.fault.seq}: {found.fault.reason}"
    seq, digest = found.head
    return f"ok     {chain}: {found.checked} records, anchor {chain}:{seq}:{digest.hex()}"


def _mismatch(there: str | None, kept: str) -> str | None:
    """Return what became of an anchor's record, None where it is the same."""
    if there is None:
        return "is not there any more"
    return None if there == kept else "has another hash now"


async def _hash_of(pool: asyncpg.Pool, inspection: Inspection, tenant: str, seq: int) -> str | None:
    """Return the hash of a record, None where there is none; of the last one pruned it is told."""
    if seq and seq == inspection.pruned[0]:
        return inspection.pruned[1].hex()
    async with tenant_transaction(pool, tenant) as con:
        found = await con.fetchval(
            "SELECT hash FROM audit_log WHERE tenant = $1 AND seq = $2", tenant, seq
        )
    return None if found is None else bytes(found).hex()


def _number(record: Any) -> int:  # noqa: ANN401 - JSON
    seq: int = msgspec.json.decode(record)["seq"]
    return seq


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[AuditDesk]:
    url = settings.database.url
    runtime = embedded.runtime_path(settings.data_dir)
    place = url.get_secret_value() if url else embedded.postgres_url(runtime)
    try:
        async with await open_pool(place, size=1, role="naru_jobs") as pool:
            yield AuditDesk(pool, auth.SecretBox.load(settings.auth, settings.data_dir).audit_key)
    except BrokenPipeError:
        raise  # who read what is printed has read enough
    except (OSError, asyncpg.PostgresError) as error:
        raise ConfigError(f"the database does not answer: {error}") from None
