"""What ledger and budgets cost a request, shipping aside: `make bench-ledger`.

One core, no PostgreSQL: records are written to their slots and shipped to nobody. Once one request
after the other, so that everything lies in the processor's caches, and once with other memory
touched between any two, as a busy machine does.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from config.scope import DEFAULT_SCOPES, TenantScope
from gateway.generation.allowance import Terms
from gateway.generation.metered import Metered
from gateway.generation.target import Completion, Prompt, Stream
from gateway.govern.budgets import Budgets
from gateway.govern.budgets_lease import Ask, Budget, Grant
from gateway.govern.charge import Asked, Charge
from gateway.govern.governor import Governor
from gateway.govern.journal import open_journal
from gateway.govern.ledger import Ledger
from gateway.govern.ledger_record import Ended
from gateway.govern.ledger_shipper import Shipper
from gateway.govern.ledger_store import LedgerStore
from gateway.govern.money import Money
from gateway.govern.prices import Rate
from gateway.openai.usage import TokenUsage

REQUESTS = 10_000
_COLD_REQUESTS = 1_000
_A_SHIPMENT = 500
_SHIPPED_S = 0.2
_LINE_BYTES = 64
_OTHERS = bytearray(32 * 2**20)  # what others use between two requests
_TOUCHED = bytes(len(_OTHERS) // _LINE_BYTES)
SCOPE = TenantScope("acme", "app", frozenset(DEFAULT_SCOPES), key="key-1", end_user="kim")


class _Bank:
    """Two budgets that never end."""

    async def list_budgets(self) -> list[Budget]:
        subjects = ("", "app")
        return [Budget(f"b{c}", "acme", c, "", "day", 10**18) for c in subjects]

    async def lease(self, asks: Sequence[Ask]) -> list[Grant | None]:
        return [Grant(1, 86_400.0, ask.want, 10**18) for ask in asks]


class _Model:
    """Answers at once."""

    name, place, context = "openai/gpt-4o-mini", "hosted", None
    accepts_unknown = usable = True

    def first_token_s(self, prompt: Prompt) -> float:
        del prompt
        return 0.0

    async def complete(self, prompt: Prompt) -> Completion:
        del prompt
        return Completion(b"{}", self.name, usage=TokenUsage(120, 80, 0, complete=True))

    async def stream(self, prompt: Prompt) -> Stream:
        raise NotImplementedError


class _Nobody(LedgerStore):
    async def add(self, records: Sequence[Ended]) -> None:
        del records

    async def purge(self) -> None:
        pass


async def _cost(request: Callable[[], Awaitable[object]], *, cold: bool = False) -> float:
    """Return microseconds of a request, the median."""
    taken = []
    for number in range(_COLD_REQUESTS if cold else REQUESTS):
        if cold:
            _OTHERS[::_LINE_BYTES] = _TOUCHED
        started = time.perf_counter()
        await request()
        taken.append(time.perf_counter() - started)
        if number % _A_SHIPMENT == 0:
            await asyncio.sleep(_SHIPPED_S)
    return 1e6 * statistics.median(taken)


def _governed(governor: Governor, chunks: int = 0) -> Callable[[], Awaitable[None]]:
    async def request() -> None:
        charge = Charge(SCOPE, Asked("chat", "smart", 400, stream=True))
        async with governor.governing(charge):
            attempt = charge.attempt("openai/gpt-4o-mini", "hosted")
            attempt.usage = TokenUsage(120, 80, 0)
            for _ in range(chunks):
                charge.count()

    return request


def _paid(money: Money | None) -> Callable[[], Awaitable[Completion]]:
    model = Metered(_Model(), money, Terms(Rate(150_000_000, 75_000_000, 600_000_000)))
    charge = Charge(SCOPE, Asked("chat", "smart", 400))
    prompt = Prompt({"messages": [{"role": "user", "content": "Why? " * 80}]}, charge=charge)

    def request() -> Awaitable[Completion]:
        charge.attempts.clear()
        return model.complete(prompt)

    return request


async def main() -> None:
    """Print the cost with and without the ledger and budgets, and of a chunk."""
    with tempfile.TemporaryDirectory() as folder:
        journal = open_journal(Path(folder), slots=8192, max_bytes=10_000_000)
        shipper = Shipper(journal.slots, _Nobody("", None), journal)
        shipping = asyncio.create_task(shipper.run())
        budgets = Budgets(_Bank())
        await budgets.refresh()
        ledger = Governor(Ledger(shipper, fsync=False))
        for cold, caches in ((False, "warm   (target: under 25)"), (True, "cold")):
            with_ledger = await _cost(_governed(ledger), cold=cold)
            without = await _cost(_governed(Governor()), cold=cold)
            paid = await _cost(_paid(Money(budgets=budgets)), cold=cold)
            free = await _cost(_paid(None), cold=cold)
            print(f"ledger       {with_ledger - without:6.1f} µs a request, caches {caches}")
            print(f"two budgets  {paid - free:6.1f} µs a request, caches {caches}")
        chunks = await _cost(_governed(ledger, 100)) - await _cost(_governed(ledger))
        print(f"a chunk of a stream {chunks / 100:5.2f} µs")
        await shipper.close(shipping)


if __name__ == "__main__":
    asyncio.run(main())
