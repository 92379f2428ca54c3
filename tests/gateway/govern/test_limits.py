"""A request's way through its limits, and what becomes of them while Redis is away."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest
from govern_support import OwnRedis, charge_of, own_redis

from config.limits import LimitSettings, LimitsSettings
from gateway.errors import LimitReached
from gateway.govern.charge import Charge, Exchange, begin_exchange
from gateway.govern.governor import Governor
from gateway.govern.limits import Limiter
from gateway.govern.limits_redis import Counters
from gateway.govern.limits_rules import Limit, Rules, default_rules
from gateway.govern.limits_script import open_counting
from gateway.govern.limits_steps import Held
from gateway.openai.usage import TokenUsage


@pytest.fixture
def server() -> Iterator[OwnRedis]:
    with own_redis() as running:
        yield running


@asynccontextmanager
async def limiter(url: str, *, workers: int = 1, **limits: int) -> AsyncIterator[Limiter]:
    """A process that limits every client."""
    settings = LimitsSettings(client=LimitSettings(**limits), assumed_answer_tokens=10)
    rules = Rules(default_rules(settings), {}, lambda name: sha256(name.encode()).digest())
    async with open_counting(url) as client:
        made = Limiter(rules, Counters(client), assumed_answer_tokens=10, workers=workers)
        async with made.running():
            yield made


async def passes(limiter: Limiter, charge: Charge | None = None) -> bool:
    try:
        await limiter.reserve(charge or charge_of())
    except LimitReached:
        return False
    return True


async def how_many_pass(limiter: Limiter, of: int) -> int:
    return sum([await passes(limiter) for _ in range(of)])


async def until_it_answers(limiter: Limiter, *, answers: bool = True) -> None:
    async with asyncio.timeout(30):
        while limiter._counters.answering != answers:
            if not answers:
                await passes(limiter)
            await asyncio.sleep(0.01)


async def until_told(limiter: Limiter) -> None:
    """Wait until Redis has counted what was let in without asking."""
    async with asyncio.timeout(30):
        while limiter._counters.untold or limiter._counters._flights:
            await asyncio.sleep(0.01)


async def test_who_is_not_limited_never_reaches_redis() -> None:
    async with limiter("unix:///nowhere") as made:
        await Governor(limiter=made).begin(charge_of())
        assert made._counters.answering
        assert not made._counters._flights


async def test_a_request_is_settled_with_what_all_its_attempts_took(server: OwnRedis) -> None:
    async with limiter(server.url, tokens_per_minute=100, concurrent_requests=1) as made:
        governor = Governor(limiter=made)
        begin_exchange(exchange := Exchange("x"))
        charge = charge_of(prompt_bytes=30, max_tokens=30)
        async with governor.governing(charge):
            assert exchange.headers["x-ratelimit-remaining-tokens"] == "60"
            with pytest.raises(LimitReached) as refused:
                await governor.begin(charge_of())
            assert refused.value.headers["x-naru-reason"] == "client_concurrent_requests"
            charge.attempt("a", "hosted").usage = TokenUsage(prompt_tokens=5)
            charge.attempt("b", "hosted").usage = TokenUsage(5, 10)
        await governor.begin(charge_of(prompt_bytes=3, max_tokens=9))
        assert exchange.headers["x-ratelimit-remaining-tokens"] == "70"
        assert exchange.headers["x-ratelimit-limit-tokens"] == "100"


async def test_who_leaves_while_it_is_reserved_holds_nothing(server: OwnRedis) -> None:
    async with limiter(server.url, concurrent_requests=1) as made:
        await passes(made, first := charge_of())
        made.settle(first)
        reserving = asyncio.create_task(made.reserve(charge_of()))
        while not made._counters._flights:
            await asyncio.sleep(0)
        reserving.cancel()
        await asyncio.gather(reserving, return_exceptions=True)
        while made._counters._flights:
            await asyncio.sleep(0.001)
        assert await passes(made)


async def test_what_is_asked_at_once_shares_a_call(server: OwnRedis) -> None:
    async with (
        limiter(server.url, requests_per_minute=1000) as made,
        open_counting(server.url) as c,
    ):
        await passes(made)
        before = (await c.info("commandstats"))["cmdstat_evalsha"]["calls"]
        assert all(await asyncio.gather(*(passes(made) for _ in range(100))))
        after = (await c.info("commandstats"))["cmdstat_evalsha"]["calls"]
        assert after - before <= 4


async def test_who_has_a_share_does_not_wait_for_redis(server: OwnRedis) -> None:
    async with limiter(
        server.url, requests_per_minute=100, tokens_per_day=10_000, concurrent_requests=10
    ) as made:
        await passes(made)
        begin_exchange(exchange := Exchange("x"))
        charge = charge_of(max_tokens=30)
        with pytest.raises(StopIteration):
            made.reserve(charge).send(None)
        assert exchange.headers["x-ratelimit-remaining-requests"] == "98"
        assert exchange.headers["x-ratelimit-remaining-tokens"] == "9960"
        charge.attempt("a", "hosted").usage = TokenUsage(5, 10)
        made.settle(charge)
        await until_told(made)
        assert await standing(made, [98, 9975, 9])


async def test_who_ends_in_good_order_keeps_nothing_from_the_others(server: OwnRedis) -> None:
    async with limiter(server.url, requests_per_minute=50) as made:
        assert await how_many_pass(made, 20) == 20
    async with limiter(server.url, requests_per_minute=50) as other:
        assert await how_many_pass(other, 40) == 30


async def test_a_limit_that_is_lowered_holds_at_once(server: OwnRedis) -> None:
    async with limiter(server.url, requests_per_minute=50) as made:
        assert await how_many_pass(made, 10) == 10
        lower = LimitsSettings(client=LimitSettings(requests_per_minute=12))
        made.rules = Rules(default_rules(lower), {}, made.rules.pseudonym)
        assert await how_many_pass(made, 10) == 2


async def test_what_is_under_way_for_long_is_counted_by_its_name(server: OwnRedis) -> None:
    async with limiter(server.url, tokens_per_day=1000, concurrent_requests=10) as made:
        await passes(made, first := charge_of())
        await passes(made, charge := charge_of(max_tokens=100))
        held = made._reservations[charge.id]
        assert held.buckets is None
        async with asyncio.timeout(30):
            while held.buckets is None:
                await asyncio.sleep(0.05)
        charge.attempt("a", "hosted").usage = TokenUsage(5, 10)
        for each in (first, charge):
            made.settle(each)
        assert await standing(made, [985, 10])


@pytest.mark.parametrize("fault", ["kill", "hang"])
async def test_without_redis_a_process_lets_its_share_through_and_recovers(
    server: OwnRedis, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with limiter(
        server.url, workers=3, requests_per_minute=30, tokens_per_day=10_000
    ) as made:
        assert await how_many_pass(made, 4) == 4
        await until_told(made)
        getattr(server, fault)()
        assert await how_many_pass(made, 20) == 8, "a third of the 26 that were left"
        assert not made._counters.answering
        started = time.perf_counter()
        assert await how_many_pass(made, 100) == 0
        assert time.perf_counter() - started < 2, "nobody waits for what is known to be away"
        if fault == "kill":
            server.start()
        else:
            server.go_on()
        await until_it_answers(made)
        assert await how_many_pass(made, 30) == 18, "what was let in meanwhile counts"
    told = [record.getMessage() for record in caplog.records if "Redis" in record.getMessage()]
    assert len(told) == 2, told
    assert "away" in told[0]
    assert "again" in told[1]


async def test_what_was_let_in_without_redis_counts_when_it_is_back(server: OwnRedis) -> None:
    async with limiter(
        server.url, requests_per_minute=10, tokens_per_minute=1000, concurrent_requests=4
    ) as made:
        before, *charges = (charge_of() for _ in range(4))
        assert await passes(made, before)
        server.kill()
        assert [await passes(made, charge) for charge in charges] == [True] * 3
        charges[0].attempt("a", "hosted").usage = TokenUsage(500, 0)
        for charge in (before, charges[0]):
            made.settle(charge)
        server.start()
        await until_it_answers(made)
        # A Redis that was killed is told of the first again; two are under way.
        assert await standing(made, [6, 480, 2])
        for charge in charges[1:]:
            made.settle(charge)
        assert await standing(made, [6, 500, 4])


async def standing(limiter: Limiter, remaining: list[int]) -> bool:
    """Wait until so much remains."""
    free = [(limit, 0) for limit in limiter.rules.of(charge_of().scope, "m")]
    async with asyncio.timeout(30):
        while True:
            outcome = await limiter._counters.reserve("probe", free)
            limiter._counters.settle(Held("probe", free, [0] * len(free)), 0)
            if outcome and [each.remaining for each in outcome.standings] == remaining:
                return True
            await asyncio.sleep(0.05)


async def test_a_wiped_redis_is_told_what_counts(server: OwnRedis) -> None:
    async with (
        limiter(server.url, workers=2, requests_per_minute=9, tokens_per_day=999) as made,
        limiter(server.url, workers=2, requests_per_minute=9, tokens_per_day=999) as other,
        open_counting(server.url) as c,
    ):
        open_ = charge_of()
        assert [await passes(made, open_), await passes(other), await passes(made)] == [True] * 3
        await c.flushall()
        await c.script_flush()
        assert await how_many_pass(made, 9) <= 3, "its share of the 6 that were left"
        for each in (made, other):
            await until_it_answers(each, answers=False)
        for each in (made, other):
            await until_it_answers(each)
        open_.attempt("a", "hosted").usage = TokenUsage(100, 0)
        made.settle(open_)
        async with asyncio.timeout(30):
            while await how_many_pass(made, 9) + await how_many_pass(other, 9):
                await asyncio.sleep(0.1)
        assert made._here.taken(limit_of(made, 0)) + other._here.taken(limit_of(other, 0)) == 9
        tokens = made._here.taken(limit_of(made, 1)) + other._here.taken(limit_of(other, 1))
        assert tokens == 100 + 8 * 10
        assert await standing(made, [0, 999 - tokens])


def limit_of(limiter: Limiter, place: int) -> Limit:
    return limiter.rules.of(charge_of().scope, "m")[place]


class Mute:
    """Stands before Redis: what is asked arrives, what is answered waits until it speaks."""

    def __init__(self, server: OwnRedis) -> None:
        self._to = server.url.removeprefix("unix://")
        self.path = f"{self._to}.mute"
        self.speaking = asyncio.Event()
        self.speaking.set()
        self._callers: list[asyncio.StreamWriter] = []

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._callers.append(writer)
        answers, to = await asyncio.open_unix_connection(self._to)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._answer(answers, writer))
            while asked := await reader.read(1 << 16):
                to.write(asked)
            to.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer := await reader.read(1 << 16):
            await self.speaking.wait()
            writer.write(answer)
        writer.close()

    def hang_up(self) -> None:
        for caller in self._callers:
            caller.close()


@pytest.mark.parametrize("answer", ["late", "lost"])
async def test_what_redis_counted_and_nobody_heard_is_given_back(
    server: OwnRedis, answer: str
) -> None:
    mute = Mute(server)
    async with (
        await asyncio.start_unix_server(mute.relay, mute.path),
        limiter(f"unix://{mute.path}", workers=3, requests_per_minute=90) as made,
    ):
        assert await how_many_pass(made, 8) == 8
        await until_told(made)
        made._shares.release()
        mute.speaking.clear()
        assert not any(await asyncio.gather(*(passes(made) for _ in range(12))))
        assert not made._counters.answering
        if answer == "lost":
            mute.hang_up()
        mute.speaking.set()
        await until_it_answers(made)
        await until_told(made)
        assert await how_many_pass(made, 100) == 82


async def test_another_server_in_redis_place_is_away() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(nonsense, "127.0.0.1", 0) as liar:
        port = liar.sockets[0].getsockname()[1]
        async with limiter(f"redis://127.0.0.1:{port}", requests_per_minute=2) as made:
            assert await how_many_pass(made, 5) == 2
            assert not made._counters.answering
        liar.close()


async def test_places_of_who_is_gone_are_free_when_their_lease_is_over(server: OwnRedis) -> None:
    async with limiter(server.url, concurrent_streams=1) as made:
        async with limiter(server.url, concurrent_streams=1) as other:
            assert await passes(other, charge_of(stream=True))
            assert not await passes(made, charge_of(stream=True))
        async with asyncio.timeout(30):
            while not await passes(made, charge_of(stream=True)):
                await asyncio.sleep(0.1)
