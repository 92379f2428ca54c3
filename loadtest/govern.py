"""What the ledger costs a request, in CPU time: `PYTHONPATH=. python loadtest/govern.py`.

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
from gateway.govern.charge import Asked, Charge
from gateway.govern.governor import Governor
from gateway.govern.journal import open_journal
from gateway.govern.ledger import Ledger
from gateway.govern.ledger_shipper import Shipper
from gateway.govern.ledger_store import LedgerStore, _owner_of
from gateway.openai.usage import TokenUsage

ROUNDS = 9
REQUESTS = 2_000
SCOPE = TenantScope("acme", "app", frozenset(DEFAULT_SCOPES), key="key-1", end_user="kim")


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


async def main() -> None:
    """Print the cost with and without the ledger, and of a chunk."""
    with tempfile.TemporaryDirectory() as folder:
        journal = open_journal(Path(folder), slots=8192, max_bytes=10_000_000)
        shipper = Shipper(journal.slots, _Nobody("", None), journal)
        shipping = asyncio.create_task(shipper.run())
        without = await _cost(Governor(), 0)
        ledger = await _cost(Governor(Ledger(shipper, fsync=False)), 0)
        chunks = await _cost(Governor(Ledger(shipper, fsync=False)), 100)
        await shipper.close(shipping)
    print(f"ledger             {ledger - without:6.1f} µs per request   (target: under 40)")
    print(f"a chunk of a stream {(chunks - ledger) / 100:5.2f} µs")


if __name__ == "__main__":
    asyncio.run(main())
