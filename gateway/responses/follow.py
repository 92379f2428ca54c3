"""Coming back to a stream: the events that are kept, and those that are still to come."""

import asyncio
from collections.abc import AsyncGenerator

from config.scope import TenantScope
from gateway.openai.responses import Event
from gateway.responses.draft import last_event
from gateway.responses.store import ResponseStore

_POLL_S = 0.2
_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})


async def follow(
    store: ResponseStore, scope: TenantScope, response_id: str, after: int
) -> AsyncGenerator[Event, None]:
    """Yield the events behind number `after` until the last one.

    Of a response whose events are kept no more, or that was not streamed, that is the last event
    alone.

    Raises:
        NotFound: Unknown, or another's, or deleted meanwhile.
    """
    while True:
        stored, events = await store.read_events(scope, response_id, after)
        for event in events:
            yield event
            after = event["sequence_number"]
            if event["type"] in _LAST:
                return
        if stored.ended and not events:
            yield last_event(stored.decoded(), after + 1)
            return
        if not stored.ended:
            await asyncio.sleep(_POLL_S)
