"""Every request's way in and out: what it may take before, one settlement after."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol

from config.guardrails import GuardrailSettings
from gateway.govern.cache import ResponseCache
from gateway.govern.charge import Charge
from gateway.govern.guardrails.guardrails import Guardrails
from gateway.govern.limits import Limiter
from gateway.govern.money import Money
from gateway.observe.phases import Phase


class Ledger(Protocol):
    """Keeps one record per request."""

    @property
    def waits(self) -> bool:
        """Tell whether to close a record takes time, for the disk or PostgreSQL."""
        ...

    def open(self, charge: Charge) -> None:
        """Make sure that the request's record can be kept, whatever happens from here on.

        Raises:
            Unavailable: It can't.
        """
        ...

    async def close(self, charge: Charge) -> None:
        """Keep the ended request's record; when this returns, it survives this process."""
        ...


class Governor:
    """Governs the requests of one process.

    `cache` keeps answers to be told again; `record` is called once for each that is settled.

    Attributes:
        money: What they cost, and what their callers may spend.
    """

    def __init__(
        self,
        ledger: Ledger | None = None,
        limiter: Limiter | None = None,
        cache: ResponseCache | None = None,
        money: Money | None = None,
        guardrails: Guardrails | None = None,
        record: Callable[[Charge], None] = lambda _: None,
    ) -> None:
        self.money = money or Money()
        self._ledger = ledger
        self._limiter = limiter
        self.cache = cache
        self.guardrails = guardrails or Guardrails(GuardrailSettings())
        self._count = record
        self._settling: set[asyncio.Task[None]] = set()

    def governing(self, charge: Charge) -> "Governing":
        """Return a context: reserve for the request on entry, settle on exit, whatever its ending.

        To enter it raises what `begin` does.
        """
        return Governing(self, charge)

    def settling(self, charge: Charge) -> "Settling":
        """Return a context that settles a request that has begun on exit, whatever its ending."""
        return Settling(self, charge)

    def opening(self, charge: Charge) -> "Opening":
        """Return a context that settles only what failed: who opened the rest settles it.

        To enter it reserves, and raises what `begin` does.
        """
        return Opening(self, charge)

    async def begin(self, charge: Charge) -> None:
        """Open the request's account and reserve what it may take.

        Raises:
            GatewayError: It is refused; its record is written, there is nothing to settle.
        """
        if self._ledger:
            self._ledger.open(charge)
        try:
            with Phase("limits", charge.exchange):
                if self._limiter:
                    await self._limiter.reserve(charge)
        except BaseException as error:
            charge.end(error)
            await self.settle(charge)
            raise

    def settle(self, charge: Charge) -> Awaitable[None]:
        """Settle once what the request took; who is cancelled meanwhile leaves it to be done.

        How it ended is known already.
        """
        if self._ledger and self._ledger.waits:
            return asyncio.shield(self.settle_soon(charge))
        return self._settle(charge)

    def settle_soon(self, charge: Charge) -> asyncio.Task[None]:
        """Settle an ended request where nobody can wait."""
        task = asyncio.create_task(self._settle(charge))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    async def close(self) -> None:
        """Wait for what is being settled."""
        await asyncio.gather(*self._settling, return_exceptions=True)

    async def _settle(self, charge: Charge) -> None:
        with Phase("settlement", charge.exchange):
            for attempt in charge.attempts:
                attempt.price()
            if self._limiter:
                self._limiter.settle(charge)
            self._count(charge)
            # Last, when all that the record tells is known.
            if self._ledger:
                await self._ledger.close(charge)


class Settling:
    """Settles a request on exit; a class, for a generator would cost each request more."""

    __slots__ = ("_charge", "_governor")

    def __init__(self, governor: Governor, charge: Charge) -> None:
        self._governor = governor
        self._charge = charge

    def __aenter__(self) -> Awaitable[None]:
        """Do nothing: the request has begun."""
        return _nothing()

    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Awaitable[None]:
        self._charge.end(error)
        return self._governor.settle(self._charge)


class Governing(Settling):
    """Begins a request on entry, and settles it on exit."""

    __slots__ = ()

    def __aenter__(self) -> Awaitable[None]:
        """Begin it; raises what `Governor.begin` does."""
        return self._governor.begin(self._charge)


class Opening(Governing):
    """Begins a request on entry, and settles it on exit where it failed."""

    __slots__ = ()

    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Awaitable[None]:
        return super().__aexit__(kind, error, trace) if error is not None else _nothing()


async def _nothing() -> None:
    pass
