"""Events of a response as they may be stored: what stands in them is masked, however it is cut."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.govern.masking.hide import Hider, HidingText
from gateway.govern.masking.masking import Masking
from gateway.govern.masking.policy import Policy
from gateway.openai.responses import Event

_PLACE = ("item_id", "output_index", "content_index")
_decode = msgspec.json.Decoder(Event).decode


class StorableEvents:
    """The events of one stream.

    A text's last delta is held back, and what follows it, until the next one or its end decides
    what stands there; so every event keeps its number, and all deltas together are the text.
    """

    def __init__(self, masking: Masking, policy: Policy) -> None:
        self._masking = masking
        self._policy = policy
        self._hider = Hider(policy)
        self._texts: dict[tuple[Any, ...], HidingText] = {}
        self._undecided: dict[tuple[Any, ...], Event] = {}
        self._held: deque[Event] = deque()

    async def take(self, event: Event) -> list[Event]:
        """Return what may be stored with this event."""
        if self._policy.allows_all:
            return [event]
        kind = str(event["type"])
        if isinstance(event.get("delta"), str):
            self._held.append(self._begun(_text_of(event, kind), event))
        else:
            self._end(None if "response" in event else _text_of(event, kind), kind)
            self._held.append(_decode(await self._masking.as_json(event, self._policy)))
        return self._decided()

    def _begun(self, text: tuple[Any, ...], event: Event) -> Event:
        hiding = self._texts.setdefault(text, HidingText(self._hider))
        told = {**event, "delta": hiding.push(event["delta"])}
        if "logprobs" in told:
            told["logprobs"] = []
        self._undecided[text] = told
        return told

    def _end(self, text: tuple[Any, ...] | None, kind: str) -> None:
        """Decide a text that is done; all of them where the response tells how it stands."""
        done = [text] if text in self._texts and kind.endswith(".done") else []
        for each in list(self._texts) if text is None else done:
            self._undecided.pop(each)["delta"] += self._texts.pop(each).finish()

    def _decided(self) -> list[Event]:
        decided, held = list[Event](), {id(each) for each in self._undecided.values()}
        while self._held and id(self._held[0]) not in held:
            decided.append(self._held.popleft())
        return decided


def _text_of(event: Mapping[str, Any], kind: str) -> tuple[Any, ...]:
    """Return which text an event is about."""
    return (kind.rpartition(".")[0], *(event.get(name) for name in _PLACE))
