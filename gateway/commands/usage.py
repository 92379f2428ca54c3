"""Usage, read directly in the service's database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, NamedTuple, ParamSpec

import asyncpg
import msgspec

from auth.admin import tenants as platform
from config import embedded
from config.errors import ConfigError
from config.load import load_settings
from config.postgres import open_pool
from config.settings import Settings
from gateway.commands.identity import administer
from gateway.errors import InvalidRequest
from gateway.govern import usage_report
from gateway.govern.usage_export import as_csv
from gateway.govern.usage_report import SUMS, Span, span_of

_Given = ParamSpec("_Given")
_PAGE = 1000
_MOST_USD = 1_000_000

Print = Callable[[str], None]


class Which(NamedTuple):
    """Whose requests of which time, as `span_of` takes it."""

    since: str | None
    until: str | None
    timezone: str
    client: str | None
    model: str | None
    target: str | None
    end_user: str | None
    ending: str | None

    @property
    def span(self) -> Span:
        """Return it as it is asked for now.

        Raises:
            InvalidRequest: A time is none.
        """
        return span_of(**self._asdict())


@dataclass(frozen=True, slots=True)
class UsageDesk:
    """The ledger's tables, and whose rows are asked for."""

    pool: asyncpg.Pool
    tenants: list[str]
    gpu_hour_usd: float | None


def with_usage(
    work: Callable[Concatenate[UsageDesk, _Given], Awaitable[None]],
    tenant: str | None,
    *arguments: _Given.args,
    **options: _Given.kwargs,
) -> None:
    """Read a tenant's usage, or everybody's, in the service's database.

    Raises:
        ConfigError: The database does not answer, there is no such tenant, or what is asked for
            can't be.
    """
    if tenant is None:
        named = [each.id for each in administer(platform.list_tenants)]
    else:
        named = [administer(platform.get_tenant, tenant).id]

    async def do() -> None:
        settings = load_settings()
        async with _open(settings) as pool:
            await work(UsageDesk(pool, named, settings.ledger.gpu_hour_usd), *arguments, **options)

    try:
        asyncio.run(do())
    except InvalidRequest as error:
        raise ConfigError(str(error)) from None


async def grouped(desk: UsageDesk, which: Which, by: str, as_json: bool, show: Print) -> None:  # noqa: FBT001 - an option
    """Print sums by groups."""
    rows: list[dict[str, Any]] = []
    names = [name for name in by.split(",") if name]
    for tenant in desk.tenants:
        found = await usage_report.grouped(desk.pool, tenant, which.span, names)
        rows += [{"tenant": tenant, **row} for row in found]
    table = as_csv(rows, ("tenant", *names, *SUMS)).rstrip()
    show(msgspec.json.encode(rows).decode() if as_json else table)


async def exported(desk: UsageDesk, which: Which, show: Print) -> None:
    """Print records, one a line."""
    for tenant in desk.tenants:
        after: str | None = None
        while True:
            page = await usage_report.records(
                desk.pool, tenant, which.span, after=after, limit=_PAGE
            )
            for record in page.records:
                show(record.decode())
            after = page.after
            if after is None:
                break


async def compared(
    desk: UsageDesk,
    which: Which,
    gpu_hour: float | None,
    engines: bool,  # noqa: FBT001 - an option
    show: Print,
) -> None:
    """Print what hosted models would have cost.

    Raises:
        ConfigError: The price of an hour is none, or not to be had.
    """
    if gpu_hour is not None and not 0 < gpu_hour <= _MOST_USD:
        raise ConfigError(f"--gpu-hour: give US dollars, more than 0 and up to {_MOST_USD:,}")
    price = gpu_hour or desk.gpu_hour_usd
    if price is None:
        raise ConfigError("say what an hour of your engines costs: --gpu-hour 2.5")
    found = await usage_report.break_even(
        desk.pool, desk.tenants, which.span, price, engines=engines
    )
    show(
        f"{found.requests} requests, {found.prompt_tokens:,} tokens in, "
        f"{found.completion_tokens:,} out, in {found.hours:.1f} hours"
    )
    show(f"{'ours':<32} {found.usd:12.2f} USD at {price:g} an hour")
    for each in found.models:
        mark = "ours is less" if each.ours_is_less else f"even at {each.break_even_usd:.4f} an hour"
        show(f"{each.model:<32} {each.usd:12.2f} USD  {mark}")


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    url = settings.database.url
    runtime = embedded.runtime_path(settings.data_dir)
    place = url.get_secret_value() if url else embedded.postgres_url(runtime)
    try:
        async with await open_pool(place, size=1) as pool:
            yield pool
    except BrokenPipeError:
        raise  # who read what is printed has read enough
    except (OSError, asyncpg.PostgresError) as error:
        raise ConfigError(f"the database does not answer: {error}") from None
