"""A response from its request to its end: what came before, who answers, what is kept."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace

from msgspec import UNSET

from auth import for_user
from config.postgres import Connection, tenant_transaction
from config.scope import TenantScope
from gateway.agents.registry import Agent, find_agent
from gateway.agents.variables import filled
from gateway.errors import GatewayError, InvalidRequest, NotFound, describe
from gateway.generation.models import Models, unknown_model
from gateway.generation.target import Served, Target
from gateway.govern.masking.policy import Policy
from gateway.openai.response_items import FunctionCallItem, Item, Reasoning
from gateway.openai.responses import (
    Event,
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    ResponseUsage,
)
from gateway.openai.said import Said
from gateway.openai.usage import TokenUsage
from gateway.responses.agent import AgentAnswers
from gateway.responses.draft import Draft
from gateway.responses.events import StorableEvents
from gateway.responses.model import ModelAnswers, Opened
from gateway.responses.store import ResponseStore
from gateway.responses.turn import Turn
from gateway.sessions.conversations import Conversations, renamed

_MOST_ITEMS = 2000
_MOST_KEPT_EVENTS = 50_000


@dataclass(frozen=True, slots=True)
class Answered:
    """A response that has ended, and who gave it."""

    served: Served
    response: Response


@dataclass(slots=True)
class LiveResponse:
    """A response under way.

    Attributes:
        served: Who gives it.
        events: Its events; the consumer must `aclose()` it, and leaving early ends the work.
        storable: Makes of events what may be stored.
        unkept: Events that are not stored yet.
        storing: Held while events are stored, so that they are in their order.
    """

    served: Served
    draft: Draft
    storable: StorableEvents
    storing: asyncio.Lock = field(default_factory=asyncio.Lock)
    unkept: list[Event] = field(default_factory=list)
    events: AsyncGenerator[Event, None] = field(init=False)

    async def keep(self, event: Event) -> None:
        """Note an event for who comes back; of a stream without end the first ones."""
        if len(self.unkept) < _MOST_KEPT_EVENTS:
            self.unkept += await self.storable.take(event)

    def take_unkept(self) -> list[Event]:
        """Return the events that are to be stored."""
        events, self.unkept = self.unkept, []
        return events


class Responder:
    """Makes responses; one per process."""

    def __init__(
        self,
        store: ResponseStore,
        conversations: Conversations,
        models: Models,
        by_model: ModelAnswers,
        by_agent: AgentAnswers,
    ) -> None:
        self._store = store
        self._conversations = conversations
        self._models = models
        self._by_model = by_model
        self._by_agent = by_agent

    def caller(self, scope: TenantScope, turn: Turn) -> TenantScope:
        """Return who asks, and owns what is kept: of an agent, the end user that `user` names.

        Raises:
            InvalidUser: The header names another one, or no header could name it.
        """
        asked = turn.asked
        return scope if self._models.find(scope, asked.model) else for_user(scope, asked.user)

    async def check(self, scope: TenantScope, turn: Turn) -> None:
        """Refuse at once what could not be answered later: another's state, an unknown model.

        Raises:
            NotFound: Names what is not there for the caller.
        """
        who = await self._find(scope, turn)
        context = await self._context(scope, turn, who)
        if isinstance(who, Agent):
            self._by_agent.question(scope, turn, context)

    async def answer(self, scope: TenantScope, turn: Turn) -> Answered:
        """Answer at once."""
        opened = await self._open(scope, turn, stream=False)
        draft = Draft(turn.response, message_id=opened.message_id)
        async for part in opened.said:
            draft.take(part)
        draft.finish()
        await asyncio.shield(self._settle(scope, turn, draft, opened, []))
        return Answered(opened.served, draft.response)

    async def stream(self, scope: TenantScope, turn: Turn, *, sequence: int = 0) -> LiveResponse:
        """Begin to answer; errors before the first content are raised here."""
        opened = await self._open(scope, turn, stream=True)
        draft = Draft(turn.response, sequence=sequence, message_id=opened.message_id)
        turn.response.status = "in_progress"
        storable = StorableEvents(self._store.masking, opened.policy)
        live = LiveResponse(opened.served, draft, storable)
        live.events = self._events(scope, turn, opened, live)
        return live

    async def _events(
        self, scope: TenantScope, turn: Turn, opened: Opened, live: LiveResponse
    ) -> AsyncGenerator[Event, None]:
        draft, resumable = live.draft, turn.asked.stored and turn.asked.stream
        try:
            async for event in _told(draft, opened):
                if resumable:
                    await live.keep(event)
                yield event
        except Exception as error:  # noqa: BLE001 - the status is sent: the event tells it
            draft.fail(describe(error))
        except BaseException:
            draft.cancel()
            raise
        finally:
            await opened.said.aclose()
            if draft.response.status != "cancelled" or not turn.asked.background:
                _count(draft.response, opened.usage)
                last = draft.last()
                if resumable:
                    await live.keep(last)
                await asyncio.shield(self._settle_live(scope, turn, opened, live))
        yield last

    async def fail(
        self, scope: TenantScope, turn: Turn, error: Exception, *, sequence: int
    ) -> None:
        """End a background response that could not begin."""
        draft = Draft(turn.response, sequence=sequence)
        draft.fail(describe(error))
        opened = Opened(Served(target=""), _nothing(), TokenUsage())
        opened = replace(opened, policy=await self.policy(scope, turn))
        last = await StorableEvents(self._store.masking, opened.policy).take(draft.last())
        await self._settle(scope, turn, draft, opened, last)

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

    async def _open(self, scope: TenantScope, turn: Turn, *, stream: bool) -> Opened:
        who = await self._find(scope, turn)
        context = await self._context(scope, turn, who)
        if isinstance(who, Agent):
            opened = await self._by_agent.open(scope, who, turn, context, stream=stream)
        else:
            opened = await self._by_model.open(scope, who, turn, context, stream=stream)
        return replace(opened, policy=self._policy(scope, turn, who))

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
        if not asked.conversation_id:
            return []
        try:
            if isinstance(who, Agent):
                await self._conversations.find(scope, asked.conversation_id)
                return []
            newest = await self._conversations.page(
                scope, asked.conversation_id, limit=_MOST_ITEMS + 1, order="desc"
            )
        except NotFound as error:
            error.param = "conversation"
            raise
        if len(newest) > _MOST_ITEMS and asked.truncation != "auto":
            raise InvalidRequest(
                f"conversation: it holds over {_MOST_ITEMS:,} items: allow `truncation: auto`",
                param="conversation",
                code="conversation_too_long",
            )
        return newest[:_MOST_ITEMS][::-1]

    async def _settle_live(
        self, scope: TenantScope, turn: Turn, opened: Opened, live: LiveResponse
    ) -> None:
        async with live.storing:
            await self._settle(scope, turn, live.draft, opened, live.take_unkept())

    async def _settle(
        self,
        scope: TenantScope,
        turn: Turn,
        draft: Draft,
        opened: Opened,
        events: Sequence[Event],
    ) -> None:
        """Store the response and its turn together, or not at all."""
        response = draft.response
        conversation = None if opened.kept else turn.asked.conversation_id
        if not turn.asked.stored and not conversation:
            return
        async with tenant_transaction(self._store.pool, scope.tenant) as con:
            if turn.asked.background:
                if not await self._store.end_job(con, response, opened.policy):
                    return
            elif turn.asked.stored:
                await self._store.insert(con, scope, response, turn.items, opened.policy)
            if turn.asked.stored:
                await self._store.add_events(con, response.id, events)
            if conversation:
                await self._keep(con, scope, conversation, turn, response, opened.policy)

    async def _keep(
        self,
        con: Connection,
        scope: TenantScope,
        conversation: str,
        turn: Turn,
        response: Response,
        policy: Policy,
    ) -> None:
        said: list[Item] = list(response.output)
        if response.status not in ("completed", "incomplete"):
            # Half a call, or thoughts without an answer, would break the next turn.
            said = [item for item in said if not isinstance(item, FunctionCallItem | Reasoning)]
        items = [*renamed(turn.items), *said]
        model = response.model
        await self._conversations.keep_turn(con, scope, conversation, items, policy, model=model)


async def _told(draft: Draft, opened: Opened) -> AsyncGenerator[Event, None]:
    for event in draft.begin():
        yield event
    async for part in opened.said:
        for event in draft.take(part):
            yield event
    for event in draft.finish():
        yield event


async def _nothing() -> AsyncGenerator[Said, None]:
    nothing: Sequence[Said] = ()
    for part in nothing:
        yield part


def _count(response: Response, usage: TokenUsage) -> None:
    """Tell what a response took that broke off before it was told."""
    if response.usage is not UNSET or not usage.total_tokens:
        return
    response.usage = ResponseUsage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        InputTokensDetails(usage.cached_tokens),
        OutputTokensDetails(),
    )
