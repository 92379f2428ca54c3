"""What ledger and budgets cost a request, in CPU time: `PYTHONPATH=. python loadtest/govern.py`.

One core, no PostgreSQL: records are written to their slots and shipped to nobody; what shipping
costs here is counted, what PostgreSQL does with them is not.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
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
from gateway.govern.ledger_shipper import Shipper
from gateway.govern.ledger_store import LedgerStore, _owner_of
from gateway.govern.money import Money
from gateway.govern.prices import Rate
from gateway.openai.usage import TokenUsage

ROUNDS = 9
REQUESTS = 2_000
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
    async def add(self, texts: Sequence[bytes]) -> None:
        for text in texts:
            _owner_of(text)
        (b"[" + b",".join(texts) + b"]").decode()


async def _cost(governor: Governor, chunks: int) -> float:
    """Return microseconds of CPU per request, the median of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(REQUESTS):
            charge = Charge(SCOPE, Asked("chat", "smart", 400, stream=True))
            async with governor.governing(charge):
                attempt = charge.attempt("openai/gpt-4o-mini", "hosted")
                attempt.usage = TokenUsage(120, 80, 0)
                for _ in range(chunks):
                    charge.count()
        rounds.append((time.process_time() - started) / REQUESTS * 1e6)
        await asyncio.sleep(0.3)
    return statistics.median(rounds)


async def _paying(money: Money | None) -> float:
    """Return microseconds of CPU per answer of a model, the median of the rounds."""
    model = Metered(_Model(), money, Terms(Rate(150_000_000, 75_000_000, 600_000_000)))
    charge = Charge(SCOPE, Asked("chat", "smart", 400))
    prompt = Prompt({"messages": [{"role": "user", "content": "Why? " * 80}]}, charge=charge)
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(REQUESTS):
            charge.attempts.clear()
            await model.complete(prompt)
        rounds.append((time.process_time() - started) / REQUESTS * 1e6)
    return statistics.median(rounds)


async def main() -> None:
    """Print the cost with and without the ledger and budgets, and of a chunk."""
    with tempfile.TemporaryDirectory() as folder:
        journal = open_journal(Path(folder), slots=8192, max_bytes=10_000_000)
        shipper = Shipper(journal.slots, _Nobody("", None), journal)
        shipping = asyncio.create_task(shipper.run())
        without = await _cost(Governor(), 0)
        ledger = await _cost(Governor(Ledger(shipper, fsync=False)), 0)
        chunks = await _cost(Governor(Ledger(shipper, fsync=False)), 100)
        await shipper.close(shipping)
    budgets = Budgets(_Bank())
    await budgets.refresh()
    paying = await _paying(Money(budgets=budgets)) - await _paying(None)
    print(f"ledger             {ledger - without:6.1f} µs per request   (target: under 25)")
    print(f"two budgets        {paying:6.1f} µs per request   (target: under 25)")
    print(f"a chunk of a stream {(chunks - ledger) / 100:5.2f} µs")


if __name__ == "__main__":
    asyncio.run(main())
