"""A response from its request to its end: what came before, who answers, what is kept."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace

from msgspec import UNSET

from auth import for_user
from config.scope import TenantScope
from gateway.agents.queue import SessionQueue
from gateway.agents.registry import Agent, find_agent
from gateway.agents.variables import filled
from gateway.errors import GatewayError, InvalidRequest, NotFound, describe
from gateway.generation.models import Models, unknown_model
from gateway.generation.target import Served, Target
from gateway.govern.masking.policy import Policy
from gateway.openai.response_items import Item
from gateway.openai.responses import (
    Event,
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    ResponseUsage,
)
from gateway.openai.usage import TokenUsage
from gateway.responses.agent import AgentAnswers
from gateway.responses.draft import Draft
from gateway.responses.events import StorableEvents
from gateway.responses.live import LiveResponse
from gateway.responses.model import ModelAnswers, Opened
from gateway.responses.settle import Endings
from gateway.responses.store import ResponseStore
from gateway.responses.turn import Turn
from gateway.sessions.conversations import Conversations
from gateway.sessions.store import new_message_id
from gateway.sessions.turns import NewTurn

_MOST_ITEMS = 2000


@dataclass(frozen=True, slots=True)
class Answered:
    """A response that has ended, and who gave it."""

    served: Served
    response: Response


class Responder:
    """Makes responses; one per process.

    A turn in a conversation holds it from before it reads what came before until it is stored; an
    agent's does so itself.
    """

    def __init__(
        self,
        store: ResponseStore,
        conversations: Conversations,
        models: Models,
        by_model: ModelAnswers,
        by_agent: AgentAnswers,
        queue: SessionQueue,
    ) -> None:
        self._store = store
        self._conversations = conversations
        self._endings = Endings(store, conversations)
        self._models = models
        self._by_model = by_model
        self._by_agent = by_agent
        self._queue = queue

    def caller(self, scope: TenantScope, turn: Turn) -> TenantScope:
        """Return who asks, and owns what is kept: of an agent, the end user that `user` names.

        Raises:
            InvalidUser: The header names another one, or no header could name it.
        """
        asked = turn.asked
        return scope if self._models.find(scope, asked.model) else for_user(scope, asked.user)

    async def check(self, scope: TenantScope, turn: Turn) -> Policy:
        """Refuse at once what could not be answered later: another's state, an unknown model.

        Return what of it may be stored.

        Raises:
            NotFound: Names what is not there for the caller.
        """
        who = await self._find(scope, turn)
        await self._check_conversation(scope, turn)
        context = await self._context(scope, turn, who)
        if isinstance(who, Agent):
            self._by_agent.question(scope, turn, context)
        else:
            await self._by_model.check(scope, turn)
        return self._policy(scope, turn, who)

    async def answer(self, scope: TenantScope, turn: Turn) -> Answered:
        """Answer at once.

        Raises:
            Overloaded: Too many wait for the conversation, or it took too long.
            Conflict: The conversation was deleted meanwhile.
        """
        async with AsyncExitStack() as held:
            opened = await self._open(scope, turn, held, stream=False)
            draft = Draft(turn.response, message_id=opened.message_id)
            async for part in opened.said:
                draft.take(part)
            draft.finish()
            _count(turn.response, opened.usage)
            # Shielded: a caller that leaves must not lose the turn.
            await asyncio.shield(self._settle(scope, turn, opened, held.pop_all()))
        return Answered(opened.served, draft.response)

    async def stream(self, scope: TenantScope, turn: Turn, *, sequence: int = 0) -> LiveResponse:
        """Begin to answer; errors before the first content are raised here.

        Raises:
            Overloaded: Too many wait for the conversation, or it took too long.
            Conflict: The conversation was deleted meanwhile.
        """
        async with AsyncExitStack() as held:
            opened = await self._open(scope, turn, held, stream=True)
            draft = Draft(turn.response, sequence=sequence, message_id=opened.message_id)
            turn.response.status = "in_progress"
            storable = StorableEvents(self._store.masking, opened.policy)
            live = LiveResponse(opened.served, draft, storable)
            live.events = self._events(scope, turn, opened, live, held.pop_all())
            # What has begun is closed by the event loop where its consumer has nothing to close.
            await anext(live.events)
        return live

    async def _events(
        self,
        scope: TenantScope,
        turn: Turn,
        opened: Opened,
        live: LiveResponse,
        held: AsyncExitStack,
    ) -> AsyncGenerator[Event, None]:
        """Yield nothing, then the events."""
        draft = live.draft
        try:
            yield {}
            async for event in _told(draft, opened):
                if turn.resumable:
                    await live.keep(event)
                yield event
        except Exception as error:  # noqa: BLE001 - the status is sent: the event tells it
            draft.fail(describe(error))
        except BaseException:
            draft.cancel()
            raise
        finally:
            # Shielded: a caller that leaves must not lose the turn.
            last = await asyncio.shield(self._end(scope, turn, opened, live, held))
        yield last

    async def _end(
        self,
        scope: TenantScope,
        turn: Turn,
        opened: Opened,
        live: LiveResponse,
        held: AsyncExitStack,
    ) -> Event:
        """Store what has ended, let its conversation go, and return the last event."""
        async with held:
            await opened.said.aclose()
            _count(turn.response, opened.usage)
            return await self._endings.settle_live(scope, turn, opened, live)

    async def _settle(
        self, scope: TenantScope, turn: Turn, opened: Opened, held: AsyncExitStack
    ) -> None:
        async with held:
            await self._endings.settle(scope, turn, opened)

    async def fail(
        self, scope: TenantScope, turn: Turn, error: Exception, *, sequence: int
    ) -> None:
        """End a background response that could not begin."""
        draft = Draft(turn.response, sequence=sequence)
        draft.fail(describe(error))
        policy = await self.policy(scope, turn)
        last = await StorableEvents(self._store.masking, policy).take(draft.last())
        await self._endings.settle_unopened(scope, turn, policy, last)

    async def policy(self, scope: TenantScope, turn: Turn) -> Policy:
        """Return what of a response may be stored, whether or not anybody can answer it."""
        name = turn.asked.model
        try:
            who = await self._find(scope, turn)
        except GatewayError:
            return self._store.policy(scope, name, agent=name.partition("@")[0])
        return self._policy(scope, turn, who)

    def _policy(self, scope: TenantScope, turn: Turn, who: Target | Agent) -> Policy:
        if isinstance(who, Agent):
            return self._store.policy(scope, who.definition.model, who.name)
        return self._store.policy(scope, turn.asked.model)

    async def _open(
        self, scope: TenantScope, turn: Turn, held: AsyncExitStack, *, stream: bool
    ) -> Opened:
        """Begin to answer; what the turn holds until it is stored goes into `held`."""
        who = await self._find(scope, turn)
        policy = self._policy(scope, turn, who)
        await self._check_conversation(scope, turn)
        if isinstance(who, Agent):
            context = await self._context(scope, turn, who)
            opened = await self._by_agent.open(scope, who, turn, context, stream=stream)
            return replace(opened, policy=policy)
        message_id = await self._hold(scope, turn, held)
        context = await self._context(scope, turn, who)
        opened = await self._by_model.open(scope, who, turn, context, stream=stream)
        return replace(opened, policy=policy, message_id=message_id)

    async def _hold(self, scope: TenantScope, turn: Turn, held: AsyncExitStack) -> str:
        """Hold the conversation, if there is one; return what the answer's message is called."""
        conversation = turn.asked.conversation_id
        if not conversation:
            return ""
        arrived = NewTurn(new_message_id(), conversation, agent="", question="")
        await held.enter_async_context(self._queue.held(scope, arrived))
        return arrived.message_id

    async def _find(self, scope: TenantScope, turn: Turn) -> Target | Agent:
        """Return who is asked.

        Raises:
            NotFound: There is neither a model nor an agent of that name for the caller.
            InvalidRequest: The agent's variables are not these.
        """
        asked = turn.asked
        if target := self._models.find(scope, asked.model):
            return target
        affinity = asked.conversation_id or asked.safety_identifier or asked.user
        try:
            agent = await find_agent(self._store.pool, scope, asked.model, affinity=affinity)
        except NotFound:
            raise unknown_model(asked.model) from None
        return filled(agent, turn.variables)

    async def _context(self, scope: TenantScope, turn: Turn, who: Target | Agent) -> Sequence[Item]:
        """Return what was said before, oldest first; an agent knows its conversation itself."""
        asked = turn.asked
        if asked.previous_response_id:
            return await self._store.chain(scope, asked.previous_response_id)
        if not asked.conversation_id or isinstance(who, Agent):
            return []
        with _naming_conversation():
            newest = await self._conversations.page(
                scope, asked.conversation_id, limit=_MOST_ITEMS + 1, order="desc"
            )
        if len(newest) > _MOST_ITEMS and asked.truncation != "auto":
            raise InvalidRequest(
                f"conversation: it holds over {_MOST_ITEMS:,} items: allow `truncation: auto`",
                param="conversation",
                code="conversation_too_long",
            )
        return newest[:_MOST_ITEMS][::-1]

    async def _check_conversation(self, scope: TenantScope, turn: Turn) -> None:
        if conversation := turn.asked.conversation_id:
            with _naming_conversation():
                await self._conversations.find(scope, conversation)


@contextmanager
def _naming_conversation() -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        error.param = "conversation"
        raise


async def _told(draft: Draft, opened: Opened) -> AsyncGenerator[Event, None]:
    for event in draft.begin():
        yield event
    async for part in opened.said:
        for event in draft.take(part):
            yield event
    for event in draft.finish():
        yield event


def _count(response: Response, usage: TokenUsage) -> None:
    """Tell what a response took where the upstream did not tell it, as it is accounted."""
    if response.usage is not UNSET or not usage.total_tokens:
        return
    response.usage = ResponseUsage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        InputTokensDetails(usage.cached_tokens),
        OutputTokensDetails(),
    )
