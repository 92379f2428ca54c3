"""A turn is one request: one account around all that it asks, settled once, however it ends."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from desk import APP, Desk
from upstream_support import json_answer

from config.settings import SessionSettings
from gateway.agents import prepare
from gateway.agents.definition import AnswerPolicy, HistoryPolicy
from gateway.agents.draft import AgentAnswer, Question
from gateway.agents.registry import Agent
from gateway.agents.turns import Turns
from gateway.errors import GatewayError, LimitReached
from gateway.govern.charge import Charge, Exchange, begin_exchange
from gateway.sessions.recall import find_answer
from gateway.sessions.turns import Keeping, TurnStore

ANNUAL = "연차 휴가는 며칠인가요?"
FOLLOW_UP = "그럼 3년 차는요?"
WHOLE = "3년 차의 연차 휴가는 며칠인가요?"
NOWHERE = "프랑스의 수도는 어디인가요?"
CITED = "연차 휴가는 연간 15일이다. [1]"

Asks = Callable[[Desk, str, str | None, Agent], Awaitable[str]]


@pytest.fixture(autouse=True)
async def accounts(desk: Desk) -> AsyncIterator[None]:
    """Nothing stays open behind a test."""
    await until_settled(desk)
    desk.governor.begun.clear()
    desk.governor.settled.clear()
    yield
    await until_settled(desk)


async def until_settled(desk: Desk) -> list[Charge]:
    """What was settled, once that is all that was begun: each once."""
    async with asyncio.timeout(30):
        while len(desk.governor.settled) < len(desk.governor.begun):
            gc.collect()
            await asyncio.sleep(0.01)
    await desk.governor.close()
    assert [each.id for each in desk.governor.settled] == [each.id for each in desk.governor.begun]
    return desk.governor.settled


async def whole(desk: Desk, text: str, session: str | None, agent: Agent) -> str:
    return (await desk.ask(text, session, agent)).text


async def streamed(desk: Desk, text: str, session: str | None, agent: Agent) -> str:
    live = await desk.turns.stream(APP, agent, Question(text, session))
    try:
        return "".join([part async for part in live.parts if isinstance(part, str)])
    finally:
        await live.parts.aclose()


async def kept(desk: Desk, text: str, session: str | None, agent: Agent) -> str:
    """Streamed, and told by whoever comes back."""
    question = Question(text, session)
    keeping = Keeping(bytes(32), None, b"{}")
    await desk.turns.keep(APP, agent, question, keeping, stream=True)
    return (await desk.turns.outcome(APP, question.message_id)).text


WAYS: list[Asks] = [whole, streamed, kept]


@pytest.mark.parametrize("ask", WAYS)
async def test_a_turn_that_asks_twice_is_one_request(desk: Desk, session: str, ask: Asks) -> None:
    desk.plays(CITED, rewriting=WHOLE)
    await ask(desk, ANNUAL, session, desk.agent())
    await ask(desk, FOLLOW_UP, session, desk.agent())
    first, second = await until_settled(desk)
    for charge in (first, second):
        asked = charge.asked
        assert (asked.kind, asked.model, asked.alias) == ("agent", "hr", "smart")
        assert (asked.stream, charge.agent_version) == (ask is not whole, 1)
        assert (charge.ending, charge.scope) == ("completed", APP)
        assert (charge.first_token_at is not None) == asked.stream
    assert [each.target for each in first.attempts] == ["fake/gpt-x"]
    assert [each.target for each in second.attempts] == ["fake/gpt-x"] * 2
    assert all(each.usage.total_tokens for each in second.attempts)
    assert (len(desk.asked["rewriting"]), len(desk.asked["answer"])) == (1, 2)


async def test_a_summary_is_a_part_of_its_turn(desk: Desk, session: str) -> None:
    desk.plays(CITED, rewriting=WHOLE, summary="연차를 물었다.")
    agent = desk.agent(history=HistoryPolicy(messages=4, summarize=True))
    for _ in range(4):
        await desk.ask(ANNUAL, session, agent)
    assert "summary" in desk.asked
    asked = [len(charge.attempts) for charge in await until_settled(desk)]
    assert asked == [1, 2, 2, 3], "the answer; the whole question; the summary"


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize(
    ("model", "question", "policy", "end"),
    [
        ("words", ANNUAL, {}, ("completed", ["extractive"])),
        ("words", NOWHERE, {}, ("abstained", [])),
        ("smart", NOWHERE, {}, ("abstained", [])),
        ("smart", ANNUAL, {}, ("abstained", ["fake/gpt-x"])),  # it cites nothing
        ("smart", NOWHERE, {"without_sources": "answer"}, ("completed", ["fake/gpt-x"])),
    ],
)
async def test_how_a_turn_ends(
    desk: Desk,
    session: str,
    ask: Asks,
    model: str,
    question: str,
    policy: dict[str, Any],
    end: tuple[str, list[str]],
) -> None:
    desk.plays("모릅니다.")
    await ask(desk, question, session, desk.agent(model, answer=AnswerPolicy(**policy)))
    (charge,) = await until_settled(desk)
    assert (charge.ending, [each.target for each in charge.attempts]) == end
    streamed_by_target = bool(charge.attempts) and charge.asked.stream
    assert (charge.first_token_at is not None) == streamed_by_target


@pytest.mark.parametrize("ask", WAYS)
async def test_a_turn_that_fails_says_why(desk: Desk, session: str, ask: Asks) -> None:
    desk.upstream.answer = lambda _: json_answer(b"{}", status=418)
    with pytest.raises(GatewayError):
        await ask(desk, ANNUAL, session, desk.agent("fake/teapot"))
    with pytest.raises(Exception, match="vector store"):
        await ask(desk, ANNUAL, session, desk.agent("words", stores=("vs_none",)))
    settled = await until_settled(desk)
    assert [each.ending for each in settled] == ["upstream_status_418", "not_found"]


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is searched for."""
    made: list[str] = []
    search = prepare.search

    async def noted(*given: Any, **more: Any) -> Any:
        made.append(given[4])
        return await search(*given, **more)

    monkeypatch.setattr(prepare, "search", noted)
    return made


@pytest.mark.parametrize("ask", WAYS)
async def test_a_refusal_comes_before_anything_is_looked_up(
    desk: Desk, session: str, ask: Asks, monkeypatch: pytest.MonkeyPatch, searches: list[str]
) -> None:
    class Refusing:
        async def reserve(self, _: Charge) -> None:
            raise LimitReached("too many", headers={"retry-after": "1"})

        def settle(self, _: Charge) -> None: ...

    desk.plays(CITED, rewriting=WHOLE)
    await ask(desk, ANNUAL, session, desk.agent())
    (charge,) = await until_settled(desk)
    assert (charge.ending, searches) == ("completed", [ANNUAL])
    monkeypatch.setattr(desk.governor, "_limiter", Refusing())
    with pytest.raises(GatewayError, match="too many"):
        await ask(desk, FOLLOW_UP, session, desk.agent())
    assert desk.governor.settled[-1].ending == "rate_limit_exceeded"
    assert (searches, "rewriting" in desk.asked) == ([ANNUAL], False)
    desk.governor.begun.append(desk.governor.settled[-1])


async def test_wherever_a_stream_is_left_it_is_settled_once(desk: Desk, session: str) -> None:
    desk.plays(CITED)
    left_at, last = 0, None
    while not isinstance(last, AgentAnswer):
        live = await desk.turns.stream(APP, desk.agent(), Question(ANNUAL, session))
        for _ in range(left_at):
            last = await anext(live.parts)
        await live.parts.aclose()
        charge = (await until_settled(desk))[-1]
        ended = isinstance(last, AgentAnswer)
        assert charge.ending == ("completed" if ended else "client_gone"), left_at
        left_at += 1
    assert left_at > 3
    assert len(desk.governor.settled) == left_at


async def test_a_stream_that_nobody_reads_is_settled(desk: Desk, session: str) -> None:
    desk.plays(CITED)
    for source in (desk.agents, desk.turns):
        live = await source.stream(APP, desk.agent(), Question(ANNUAL, session))
        del live
        assert (await until_settled(desk))[-1].ending == "client_gone"
    assert len(desk.governor.settled) == 2
    # Its session is free again.
    assert await desk.ask(ANNUAL, session)


@pytest.mark.parametrize("ask", [whole, streamed])
async def test_who_leaves_before_an_answer_is_on_record(
    desk: Desk, session: str, ask: Asks
) -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def hang(_: Any) -> Any:
        asked.set()
        await never.wait()

    desk.upstream.answer = hang
    asking = asyncio.create_task(ask(desk, ANNUAL, session, desk.agent("fake/slow")))
    await asked.wait()
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    (charge,) = await until_settled(desk)
    assert charge.ending == "client_gone"
    assert [each.target for each in charge.attempts] == ["fake/slow"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ending", ["server_shutdown", "client_gone"])
async def test_a_kept_turn_that_is_given_up_says_why(
    desk: Desk, session: str, ending: str, stream: bool
) -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def hang(_: Any) -> Any:
        asked.set()
        await never.wait()

    desk.upstream.answer = hang
    begin_exchange(Exchange("req-1"))
    patience = 60 if ending == "server_shutdown" else 0
    settings = SessionSettings(resume_grace_s=patience, lease_s=1)
    turns = Turns(desk.agents, TurnStore(desk.pool, settings, None), settings)
    agent = desk.agent(f"fake/{ending}")
    await turns.keep(
        APP, agent, Question(ANNUAL, session), Keeping(bytes(32), None, b"{}"), stream=stream
    )
    await asked.wait()
    if ending == "server_shutdown":
        await turns.close()
    (charge,) = await until_settled(desk)
    assert (charge.ending, charge.exchange.request_id) == (ending, "req-1")
    await turns.close()


async def test_a_key_that_is_sent_again_is_no_request(desk: Desk, session: str) -> None:
    desk.plays(CITED)
    keeping = Keeping(bytes(32), session.encode().ljust(32), b"{}")
    for _ in range(3):
        question = Question(ANNUAL, session)
        begun = await desk.turns.keep(APP, desk.agent(), question, keeping, stream=False)
        await desk.turns.outcome(APP, begun.message_id)
    (charge,) = await until_settled(desk)
    assert charge.ending == "completed"


async def test_a_replay_is_a_request(desk: Desk, session: str) -> None:
    desk.plays(CITED)
    told = await desk.ask(ANNUAL, session)
    place = (await find_answer(desk.pool, APP, session, told.message_id)).ordinal
    await desk.agents.replay(APP, desk.agent(), Question(ANNUAL, session), place)
    await desk.agents.replay(APP, desk.agent("words"), Question(NOWHERE, session), place)
    endings = [charge.ending for charge in await until_settled(desk)]
    assert endings == ["completed", "completed", "abstained"]


async def test_what_a_turn_reserves(desk: Desk) -> None:
    preparer = desk.agents._preparer
    alone = preparer.asked(desk.agent(top_k=2), Question("가"), stream=False)
    assert (alone.prompt_bytes, alone.max_tokens) == (len("Be brief.가".encode()), None)
    assert alone.context_tokens == 2 * 400, "two passages, and no history"
    in_session = preparer.asked(desk.agent(top_k=2), Question("가", "s"), stream=False)
    assert in_session.context_tokens == alone.context_tokens + 2000
    given = [{"role": "user", "content": "x" * 30}]
    with_given = Question("가", given=given, sampling={"max_tokens": 7})
    asked = preparer.asked(desk.agent(top_k=50), with_given, stream=True)
    assert (asked.context_tokens, asked.max_tokens) == (12_000 + 10, 7)
