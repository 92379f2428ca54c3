"""How a response ends in the store: itself, its events and its turn together, or not at all."""

from collections.abc import Sequence

from config.postgres import Connection, tenant_transaction
from config.scope import TenantScope
from gateway.errors import describe
from gateway.govern.masking.policy import Policy
from gateway.openai.response_items import FunctionCallItem, Item, Reasoning
from gateway.openai.responses import Event
from gateway.responses.live import LiveResponse
from gateway.responses.model import Opened
from gateway.responses.store import ResponseStore
from gateway.responses.turn import Turn
from gateway.sessions.conversations import Conversations, renamed
from gateway.sessions.store import lost


class Endings:
    """Stores how responses end; one per process."""

    def __init__(self, store: ResponseStore, conversations: Conversations) -> None:
        self._store = store
        self._conversations = conversations

    async def settle(self, scope: TenantScope, turn: Turn, opened: Opened) -> None:
        """Store a whole response and its turn.

        Raises:
            Conflict: The conversation was deleted meanwhile; nothing is stored.
        """
        if not _leaves(turn, opened):
            return
        async with tenant_transaction(self._store.pool, scope.tenant) as con:
            if not await self._end_turn(con, scope, turn, opened):
                raise lost()
            await self._store_response(con, scope, turn, opened.policy, [])
            await self._add_turn(con, scope, turn, opened)

    async def settle_live(
        self, scope: TenantScope, turn: Turn, opened: Opened, live: LiveResponse
    ) -> Event:
        """Store a response that was streamed and its turn; return its last event.

        Where the conversation was deleted meanwhile, the response failed, and says so.
        """
        if not _leaves(turn, opened):
            return live.draft.last()
        async with live.storing, tenant_transaction(self._store.pool, scope.tenant) as con:
            enters = await self._end_turn(con, scope, turn, opened)
            if not enters and turn.response.status != "cancelled":
                live.draft.fail(describe(lost()))
            last = live.draft.last()
            if turn.resumable:
                await live.keep(last)
            events = live.take_unkept()
            if await self._store_response(con, scope, turn, opened.policy, events) and enters:
                await self._add_turn(con, scope, turn, opened)
        return last

    async def settle_unopened(
        self, scope: TenantScope, turn: Turn, policy: Policy, events: Sequence[Event]
    ) -> None:
        """Store a response of the background that could not begin; no turn comes of it."""
        async with tenant_transaction(self._store.pool, scope.tenant) as con:
            await self._store_response(con, scope, turn, policy, events)

    async def _store_response(
        self,
        con: Connection,
        scope: TenantScope,
        turn: Turn,
        policy: Policy,
        events: Sequence[Event],
    ) -> bool:
        """Store a response; False where it ended before, is gone, or another worker takes over."""
        response = turn.response
        if turn.asked.background:
            # Else it broke off because the worker ends: another one begins anew.
            broke_off = response.status == "cancelled"
            end = self._store.complete_cancelled if broke_off else self._store.end_job
            if not await end(con, response, policy):
                return False
        elif turn.asked.stored:
            await self._store.insert(con, scope, response, turn.items, policy)
        if turn.asked.stored:
            await self._store.add_events(con, response.id, events)
        return True

    async def _end_turn(
        self, con: Connection, scope: TenantScope, turn: Turn, opened: Opened
    ) -> bool:
        """Let the turn's conversation go; False where it was not the turn's any more."""
        conversation = _entered(turn, opened)
        if conversation is None:
            return True
        message_id = opened.message_id
        return await self._conversations.end_turn(con, scope, conversation, message_id)

    async def _add_turn(
        self, con: Connection, scope: TenantScope, turn: Turn, opened: Opened
    ) -> None:
        conversation, response = _entered(turn, opened), turn.response
        if conversation is None:
            return
        said: list[Item] = list(response.output)
        if response.status not in ("completed", "incomplete"):
            # Half a call, or thoughts without an answer, would break the next turn.
            said = [item for item in said if not isinstance(item, FunctionCallItem | Reasoning)]
        items = [*renamed(turn.items), *said]
        await self._conversations.add_turn(
            con, scope, conversation, items, opened.policy, model=response.model
        )


def _entered(turn: Turn, opened: Opened) -> str | None:
    """Return the conversation that the turn is to be added to."""
    return None if opened.kept else turn.asked.conversation_id


def _leaves(turn: Turn, opened: Opened) -> bool:
    """Tell whether anything of a turn is stored here."""
    return turn.asked.stored or _entered(turn, opened) is not None
