"""Agents' turns in their sessions: one at a time, once for every Idempotency-Key, resumable.

`answer` and `stream` are turns that end with their caller. A kept turn (`keep`) is worked on by a
task of its own; whoever waits for it, in this process or another one, follows what is stored.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace

import msgspec

from config.scope import TenantScope
from config.settings import SessionSettings
from config.tasks import end_task
from gateway.agents.draft import AgentAnswer, Question
from gateway.agents.kept import KeptRun
from gateway.agents.queue import SessionQueue
from gateway.agents.registry import Agent
from gateway.agents.run import Agents, LiveAnswer
from gateway.errors import Conflict, NotFound, UpstreamInterrupted, retold
from gateway.openai.agents import FoundPassage
from gateway.sessions.parts import Opened, Part, Said, text_of
from gateway.sessions.turns import Begun, Keeping, KeptTurn, NewTurn, TurnStore

_POLL_S = 0.2
_CLOSE_S = 5.0

TurnParts = AsyncGenerator[Part | AgentAnswer, None]
"""What a turn tells: `Opened`, then text, then the whole answer. To be closed by its consumer."""

_decode_answer = msgspec.json.Decoder(AgentAnswer).decode


class TurnGone(Conflict):
    """409: the turn that was waited for is gone: its process ended, or its session was deleted."""


class Turns:
    """The turns of one process."""

    def __init__(self, agents: Agents, store: TurnStore, settings: SessionSettings) -> None:
        self.store = store
        self._agents = agents
        self.queue = SessionQueue(store, settings)
        self._settings = settings
        self._runs: dict[str, KeptRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether a turn is kept under way."""
        return bool(self._runs)

    async def close(self) -> None:
        """End the turns that are kept; what they said is stored."""
        for run in self._runs.values():
            run.stop()
        if self._tasks:
            await asyncio.wait([*self._tasks], timeout=_CLOSE_S)
        for task in [*self._tasks]:
            await end_task(task)

    async def answer(self, scope: TenantScope, agent: Agent, question: Question) -> AgentAnswer:
        """Answer at once, when it is this turn's turn, and store the turn.

        Raises:
            Overloaded: Too many wait for the session, or it took too long.
            Conflict: The session was deleted meanwhile.
        """
        async with self.queue.held(scope, _arrived(agent, question)):
            return await self._agents.answer(scope, agent, question)

    async def stream(self, scope: TenantScope, agent: Agent, question: Question) -> LiveAnswer:
        """Begin to answer, when it is this turn's turn; errors before the content are raised here.

        Raises:
            Overloaded: Too many wait for the session, or it took too long.
            Conflict: The session was deleted meanwhile.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.queue.held(scope, _arrived(agent, question)))
            live = await self._agents.stream(scope, agent, question)
            return replace(live, parts=_within(stack.pop_all(), live))

    async def keep(
        self,
        scope: TenantScope,
        agent: Agent,
        question: Question,
        keeping: Keeping,
        *,
        stream: bool,
    ) -> Begun:
        """Begin a turn that goes on without its caller, or find the one that has its key.

        Raises:
            KeyReused: The key stands for another request.
            Overloaded: Too many wait for the session.
        """
        asked = _Asked(scope, agent, replace(question, kept=True), stream)
        # Shielded: what has begun needs somebody who works on it.
        return await asyncio.shield(self._begin(asked, keeping))

    async def _begin(self, asked: "_Asked", keeping: Keeping) -> Begun:
        begun = await self.store.begin(asked.scope, asked.arrived(keeping))
        if begun.ours:
            message_id = asked.question.message_id
            run = KeptRun(self.store, asked.scope, message_id, self._settings)
            self._runs[message_id] = run
            task = asyncio.create_task(self._run(asked, run, running=begun.running))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return begun

    async def _run(self, asked: "_Asked", run: KeptRun, *, running: bool) -> None:
        try:
            await run.run(self._work(asked, run, running=running))
        finally:
            del self._runs[asked.question.message_id]
            run.end()
            self.queue.free(asked.scope, asked.question.session_id)

    async def _work(self, asked: "_Asked", run: KeptRun, *, running: bool) -> None:
        scope, question = asked.scope, asked.question
        if question.session_id is not None and not running:
            await self.queue.wait(scope, question.session_id, question.message_id)
        if asked.stream:
            live = await self._agents.stream(scope, asked.agent, question)
            answer = await _tell(live, run)
        else:
            answer = await self._agents.answer(scope, asked.agent, question)
        if question.session_id is None:
            await self.store.finish(scope, question.message_id, msgspec.json.encode(answer))

    async def outcome(self, scope: TenantScope, message_id: str) -> AgentAnswer:
        """Return the answer of a kept turn, once it is there.

        Raises:
            GatewayError: What the turn failed with.
            TurnGone: It is there no more.
        """
        async with aclosing(self.follow(scope, message_id)) as parts:
            async for part in parts:
                if isinstance(part, AgentAnswer):
                    return part
        raise _interrupted()

    async def shape(self, scope: TenantScope, message_id: str) -> bytes:
        """Return how a kept turn is told, as whoever began it said.

        Raises:
            TurnGone: It is there no more.
        """
        return (await self._look(scope, message_id)).shape

    async def follow(self, scope: TenantScope, message_id: str) -> TurnParts:
        """Yield what a kept turn tells, from its beginning to its answer.

        Everybody who follows is told the same parts.

        Raises:
            GatewayError: What the turn failed with, behind what it told before that.
            TurnGone: It is there no more.
        """
        told: list[Part] = []
        if run := self._runs.get(message_id):
            with run.followed():
                while not run.ended:
                    await run.more_than(len(told))
                    for part in run.told[len(told) :]:
                        told.append(part)
                        yield part
        while True:
            turn = await self._look(scope, message_id)
            for part in turn.parts[len(told) :]:
                told.append(part)
                yield part
            if turn.ended:
                break
            await asyncio.sleep(_POLL_S)
        for last in _end(turn, text_of(told)):
            yield last

    async def _look(self, scope: TenantScope, message_id: str) -> KeptTurn:
        """Return a turn of another process, or one that has ended, as it is stored."""
        try:
            turn = await self.store.read(scope, message_id, follow=True)
            if turn.dead:
                await self.store.bury(scope, turn)
                turn = await self.store.read(scope, message_id)
        except NotFound:
            raise TurnGone(
                "the process that answered ended, or the session was deleted: ask again",
                code="turn_gone",
                headers={"retry-after": "1"},
            ) from None
        return turn


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a kept turn answers."""

    scope: TenantScope
    agent: Agent
    question: Question
    stream: bool

    def arrived(self, keeping: Keeping) -> NewTurn:
        question, agent = self.question, self.agent
        return NewTurn(
            question.message_id,
            question.session_id,
            agent.name,
            question.text,
            keeping,
            asks=agent.definition.model,
        )


def _arrived(agent: Agent, question: Question) -> NewTurn:
    """Return a turn that ends with its caller."""
    return NewTurn(question.message_id, question.session_id, agent.name, question.text)


async def parts_of(live: LiveAnswer) -> TurnParts:
    """Yield what a turn tells that ends with its caller."""
    try:
        yield _opened(live)
        async for part in live.parts:
            yield Said(part) if isinstance(part, str) else part
    finally:
        await live.parts.aclose()


async def _tell(live: LiveAnswer, run: KeptRun) -> AgentAnswer:
    """Tell the parts of a turn as they come, and return its answer."""
    async with aclosing(live.parts) as parts:
        await run.open(_opened(live))
        async for part in parts:
            if not isinstance(part, str):
                return part
            run.say(Said(part))
    raise UpstreamInterrupted("the answer has no end", code="upstream_interrupted")


def _opened(live: LiveAnswer) -> Opened:
    passages = [
        FoundPassage(passage.source, passage.page, round(passage.score, 4), passage.chunk_id)
        for passage in live.retrieval.passages
    ]
    served = live.served
    return Opened(
        served.target,
        served.attempts,
        served.reason,
        passages,
        agent=served.agent,
        agent_version=served.agent_version,
    )


async def _within(
    stack: AsyncExitStack, live: LiveAnswer
) -> AsyncGenerator[str | AgentAnswer, None]:
    """Yield the turn's parts; let its session go when they end."""
    async with stack, aclosing(live.parts) as parts:
        async for part in parts:
            yield part


def _end(turn: KeptTurn, told: str) -> Iterator[Part | AgentAnswer]:
    """Yield what is left of a turn that has ended: it was stored with its answer alone."""
    answer = _decode_answer(turn.answer) if turn.answer else None
    if answer and answer.text.startswith(told) and len(answer.text) > len(told):
        yield Said(answer.text[len(told) :])
    if answer is None or turn.state != "complete":
        raise retold(turn.error) if turn.error else _interrupted()
    yield answer


def _interrupted() -> UpstreamInterrupted:
    return UpstreamInterrupted(
        "the process that answered ended; what it said by then is kept",
        code="upstream_interrupted",
    )
