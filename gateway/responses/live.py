"""A response under way."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from gateway.generation.target import Served
from gateway.openai.responses import Event
from gateway.responses.draft import Draft
from gateway.responses.events import StorableEvents

_MOST_KEPT_EVENTS = 50_000


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
