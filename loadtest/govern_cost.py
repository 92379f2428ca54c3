"""What governance takes of the throughput of chat completions: `make bench-governance`.

Real web workers on embedded stores before a model that answers at once. One governs (limits of
five kinds, two budgets, the ledger, audited calls; no cache), one does not at all; `--apart` adds
one for each part. They are asked in turns, so that all meet the same machine, and compared by
their CPU time: on a core that is busy, throughput is its inverse.

`--upstream http://HOST/v1 --model NAME` asks a real vLLM that serves NAME, answers of `--tokens`
each, and compares requests a second by the clock: there the model is what is waited for.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
from rig import follow, run_mock
from search import running

from auth import SecretBox, create_client, create_key, create_tenant
from config import embedded, postgres
from config.scope import DEFAULT_SCOPES, TenantScope
from config.settings import AuthSettings
from gateway import governance, web_worker
from gateway.govern.budgets_admin import BudgetDesk
from gateway.govern.charge import Charge
from gateway.govern.governor import Governor, Ledger
from gateway.govern.guardrails.guardrails import Guardrails
from gateway.govern.limits import Limiter
from gateway.govern.money import Money

TENANT, CLIENT = "bench", "app"
CHUNKS = 80
PATIENCE = aiohttp.ClientTimeout(5)
AMPLE = {"requests_per_minute": 10**9, "tokens_per_minute": 10**12}
LIMITS = dict.fromkeys(("tenant", "client", "key", "end_user", "model"), AMPLE)
PARTS = ("ledger", "limits", "budgets")
AUDITED = "ledger+audit"


def main() -> None:
    """Run what is asked for: the comparison, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000, help="of each worker and round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--upstream", metavar="URL", help="of a real vLLM in the mock's place")
    parser.add_argument("--model", default="mock", help="what the real one calls its model")
    parser.add_argument("--tokens", type=int, default=128, help="of each of its answers")
    parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--apart", action="store_true", help="also each part alone")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        serve(frozenset(args.worker.split("+")))
    else:
        asyncio.run(compare(args))


def serve(parts: frozenset[str]) -> None:
    """Be a web worker that differs from others in what governs its requests alone."""

    def governor(
        ledger: Ledger,
        limiter: Limiter,
        cache: object,
        money: Money,
        guardrails: Guardrails,
        record: Callable[[Charge], None],
    ) -> Governor:
        del cache
        return Governor(
            ledger if "ledger" in parts else None,
            limiter if "limits" in parts else None,
            money=money if "budgets" in parts else None,
            guardrails=guardrails,
            record=record,
        )

    setattr(governance, "Governor", governor)  # noqa: B010 - a name of another's module
    sys.argv = [sys.argv[0], "--fd", sys.argv[sys.argv.index("--fd") + 1]]
    web_worker.main()


@dataclass
class Arm:
    """One worker, what a request took it in microseconds of CPU, and how many came a second."""

    name: str
    url: str
    process: psutil.Process
    costs: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    rates: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})

    def seconds(self) -> float:
        """Return how much CPU time it has had: `/proc/PID/stat` knows it to 10 ms only."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


@contextmanager
def running_worker(name: str, environ: dict[str, str]) -> Iterator[Arm]:
    """Run this file as a web worker."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        argv = [sys.executable, __file__, "--worker", name, "--fd", str(listening.fileno())]
        child = psutil.Popen(argv, env=environ, pass_fds=[listening.fileno()])
        try:
            yield Arm(name, f"http://127.0.0.1:{listening.getsockname()[1]}", child)
        finally:
            child.terminate()
            child.wait(60)


async def compare(args: argparse.Namespace) -> None:
    """Print what a request takes with governance and without."""
    with tempfile.TemporaryDirectory(prefix="naru-bench-") as folder, ExitStack() as stack:
        data = Path(folder)
        runtime = embedded.runtime_dir(data)
        server = embedded.postgres_command(data, runtime)
        stack.enter_context(running(server, data / "postgres" / "postmaster.pid"))
        redis = embedded.redis_command(data, runtime)
        stack.enter_context(running(redis, runtime / "redis.sock"))
        url = embedded.postgres_url(runtime)
        key = await provision(url, data)
        shared = {
            "NARU_MODEL_SOCKETS": str(data),
            "NARU__DATA_DIR": str(data),
            "NARU__DATABASE__URL": url,
            "NARU__REDIS__URL": embedded.redis_url(runtime),
            "NARU__LIMITS": json.dumps(LIMITS),
            "NARU__DATABASE__POOL_SIZE": "4",
            **stack.enter_context(model_settings(args)),
        }
        names = ["", "+".join((*PARTS, "audit")), *((*PARTS, AUDITED) if args.apart else ())]
        arms = []
        for name in names:
            audited = json.dumps("audit" in name)
            environ = {**os.environ, **shared, "NARU__AUDIT__CALLS": audited}
            arms.append(stack.enter_context(running_worker(name, environ)))
        await ask_in_turns(arms, key, args)
    for arm in arms[1:]:
        (tell_rates if args.upstream else tell)(arms[0], arm)


@contextmanager
def model_settings(args: argparse.Namespace) -> Iterator[dict[str, str]]:
    """Give the settings of the model that is asked: a mock that is run, or the real one."""
    price = {"input": 1, "output": 2}
    if args.upstream:
        engine = {"urls": [args.upstream], "max_requests": 20_000}
        yield {
            "NARU__ENGINES": json.dumps({args.model: engine}),
            "NARU__PRICES": json.dumps({f"engine/{args.model}": price}),
        }
        return
    with run_mock() as mock:
        follow(mock, chunks=CHUNKS, interval_ms=0, burst=CHUNKS)
        yield {
            "NARU__PROVIDERS": json.dumps({"fake": {"base_url": f"{mock.url}/v1"}}),
            "NARU__PRICES": json.dumps({"fake/mock": price}),
        }


async def ask_in_turns(arms: Sequence[Arm], key: str, args: argparse.Namespace) -> None:
    """Measure all workers, round by round; every other round begins with the last."""
    headers = {"authorization": f"Bearer {key}"}
    for number in range(args.rounds + 1):
        for stream in (False, True):
            for arm in arms[:: -1 if number % 2 else 1]:
                limitless = aiohttp.TCPConnector(limit=0)
                async with aiohttp.ClientSession(connector=limitless, headers=headers) as http:
                    cost, rate = await measure(http, arm, stream=stream, args=args)
                if number:  # The first round warms up.
                    arm.costs[stream].append(cost)
                    arm.rates[stream].append(rate)


async def provision(url: str, data: Path) -> str:
    """Make a tenant with a client and two budgets; return an API key."""
    await postgres.migrate(url, ["auth", "rag", "gateway"])
    async with (
        await postgres.open_pool(url, size=1, role="naru_auth") as identity,
        await postgres.open_pool(url, size=1, role="naru_jobs") as jobs,
    ):
        box = SecretBox.load(AuthSettings(), data)
        await create_tenant(identity, TENANT, "Bench")
        await create_client(identity, box, TENANT, name=CLIENT, client_id=CLIENT)
        operator = TenantScope(TENANT, CLIENT, frozenset(DEFAULT_SCOPES), role="operator")
        for client in ("", CLIENT):
            whom = (client, "")
            await BudgetDesk(jobs).create(operator, TENANT, whom, "month", 10**15)
        return (await create_key(identity, box, CLIENT)).key


async def measure(
    http: aiohttp.ClientSession, arm: Arm, *, stream: bool, args: argparse.Namespace
) -> tuple[float, float]:
    """Return microseconds of the worker's CPU time for a request, and requests a second."""
    real = {"model": args.model, "max_tokens": args.tokens, "ignore_eos": True}
    body = {
        "messages": [{"role": "user", "content": "word " * 100}],
        "user": "kim",
        "stream": stream,
        **(real if args.upstream else {"model": "fake/mock", "max_tokens": 1_000}),
    }
    left = iter(range(args.requests))

    async def ask() -> None:
        for _ in left:
            async with http.post(f"{arm.url}/v1/chat/completions", json=body) as answer:
                text = await answer.read()
                assert answer.status == 200, text

    await ready(http, arm)
    before, began = arm.seconds(), time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(args.concurrency)))
    rate = args.requests / (time.perf_counter() - began)
    # What is shipped afterwards belongs to it.
    await asyncio.sleep(0.5)
    spent = arm.seconds() - before
    return spent / float(args.requests) * 1e6, rate


async def ready(http: aiohttp.ClientSession, arm: Arm) -> None:
    """Wait until the worker answers."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and arm.process.poll() is None:
        with contextlib.suppress(TimeoutError):
            async with http.get(f"{arm.url}/health/live", timeout=PATIENCE) as answer:
                assert answer.status == 200
                return
    raise SystemExit(f"{arm.name} did not start")


def tell(bare: Arm, governed: Arm) -> None:
    """Print both costs, and the share of the throughput that governance takes."""
    for stream, what in ((False, "whole answers"), (True, f"streams of {CHUNKS} chunks")):
        without, withal = (statistics.median(arm.costs[stream]) for arm in (bare, governed))
        pairs = zip(bare.costs[stream], governed.costs[stream], strict=True)
        share = statistics.median(1 - one / other for one, other in pairs)
        print(
            f"{governed.name:28} {what:20} {without:5.0f} µs without, {withal:5.0f} with: "
            f"{share:5.1%} of the throughput"
        )
    busy = statistics.median([*governed.rates[False], *governed.rates[True]])
    print(f"{governed.name:28} {busy:.0f} requests/s share what is done by the clock")


def tell_rates(bare: Arm, governed: Arm) -> None:
    """Print requests a second of both, and the share of them that governance takes."""
    for stream, what in ((False, "whole answers"), (True, "streams")):
        without, withal = (statistics.median(arm.rates[stream]) for arm in (bare, governed))
        pairs = zip(bare.rates[stream], governed.rates[stream], strict=True)
        shares = sorted(1 - other / one for one, other in pairs)
        cpu = " and ".join(
            f"{statistics.median(arm.costs[stream]):.0f}" for arm in (bare, governed)
        )
        print(
            f"{governed.name:28} {what:14} {without:6.1f} requests/s without, {withal:6.1f} with: "
            f"{statistics.median(shares):5.1%} ({shares[0]:.1%} to {shares[-1]:.1%}) "
            f"of the throughput; {cpu} µs of CPU a request"
        )


if __name__ == "__main__":
    main()
