"""What limiting a request costs: `make bench-limits`. Starts a Redis of its own."""

import asyncio
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from config import embedded
from config.limits import LimitSettings, LimitsSettings
from config.scope import TenantScope
from gateway.govern.charge import Asked, Charge
from gateway.govern.limits import Limiter
from gateway.govern.limits_redis import Counters
from gateway.govern.limits_rules import Rules, default_rules
from gateway.govern.limits_script import open_counting

REQUESTS = 6_400
SCOPE = TenantScope("acme", "app", frozenset(), key="key-1")
MOST = 1_000_000_000
FEW = LimitsSettings(tenant=LimitSettings(requests_per_minute=MOST, tokens_per_minute=MOST))
ALL = LimitSettings(
    requests_per_minute=MOST,
    tokens_per_minute=MOST,
    tokens_per_day=MOST,
    concurrent_requests=MOST,
)
MANY = LimitsSettings(tenant=ALL, client=ALL, key=ALL)


def _limiter(settings: LimitsSettings, counters: Counters) -> Limiter:
    def pseudonym(name: str) -> bytes:
        return hashlib.sha256(name.encode()).digest()

    rules = Rules(default_rules(settings), {}, pseudonym)
    return Limiter(rules, counters, assumed_answer_tokens=1024, workers=1)


async def _requests(limiter: Limiter, count: int) -> None:
    for _ in range(count):
        charge = Charge(SCOPE, Asked("chat", "m", 900, 100))
        await limiter.reserve(charge)
        limiter.settle(charge)


async def _measure(name: str, settings: LimitsSettings, url: str, at_once: int) -> None:
    async with open_counting(url) as client:
        limiter = _limiter(settings, Counters(client))
        async with limiter.running():
            await _requests(limiter, 10)
            cpu, wall = time.process_time(), time.perf_counter()
            share = REQUESTS // at_once
            await asyncio.gather(*(_requests(limiter, share) for _ in range(at_once)))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(
        f"{name:<10} {at_once:>3} at once  {cpu / REQUESTS * 1e6:7.1f} µs of CPU here,"
        f" {wall / REQUESTS * 1e6:7.1f} µs in all per request"
    )


async def _measure_all(url: str) -> None:
    for name, settings in (("no limits", LimitsSettings()), ("2 limits", FEW), ("12 limits", MANY)):
        for at_once in (1, 64):
            await _measure(name, settings, url, at_once)


def main() -> None:
    """Print what limits cost, by how many apply and how many ask at once."""
    with tempfile.TemporaryDirectory(prefix="naru-bench-") as folder:
        path = Path(folder)
        server = subprocess.Popen(embedded.redis_command(path, path).argv, stdout=sys.stderr)
        try:
            while not (path / "redis.sock").exists():
                time.sleep(0.05)
            asyncio.run(_measure_all(embedded.redis_url(path)))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
