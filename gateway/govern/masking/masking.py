"""Masking at the boundaries of one process: by the settings' policies, off the event loop."""

import hmac
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from config.masking import MaskingSettings
from gateway.errors import InvalidRequest, Unavailable
from gateway.govern.masking.answer import AnswerChange, TextInParts
from gateway.govern.masking.hide import NOTHING_KNOWN, Blocked, Hider, HidingText
from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.policy import Policies, Policy
from gateway.govern.masking.pseudonyms import Pseudonyms, Restorer
from gateway.govern.masking.scan import scan
from gateway.govern.masking.threads import Threads, Turns
from gateway.govern.masking.walk import changed

_log = logging.getLogger(__name__)
_SMALL = 4_096
"""Up to this length in bytes a text is looked at in the event loop: at most 2 to 3 ms."""


class PiiBlocked(InvalidRequest):
    """400: the request holds personal data that must not go to a hosted model."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """A request's fields without what is hidden, and what their pseudonyms stand for."""

    fields: Mapping[str, Any]
    originals: Mapping[str, str]

    def answer(self) -> AnswerChange:
        """Return what puts the originals back into an answer."""
        return AnswerChange(
            lambda in_json, _: Restorer(self.originals, in_json=in_json), logprobs=True
        )


class Masking:
    """Masking by the settings; `key` makes the pseudonyms of a session the same ones.

    What is long is looked at in threads.
    """

    def __init__(self, settings: MaskingSettings, key: bytes | None = None) -> None:
        self.policies = Policies(settings)
        self._key = key or secrets.token_bytes(32)
        self._threads = Threads()

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    async def hide(
        self, fields: Mapping[str, Any], policy: Policy, *, session: str | None
    ) -> Hidden:
        """Return a request's fields as a hosted model may read them.

        Pseudonyms are the same ones throughout a session, else of this request alone.

        Raises:
            PiiBlocked: They hold what must not go there.
            Unavailable: They could not be looked at; nothing may be sent.
        """
        if policy.allows_all:
            return Hidden(fields, {})
        key = self._session_key(session)
        try:
            if is_small(fields):
                return _hidden(fields, policy, key)
            return await self._threads.run(lambda: _hidden(fields, policy, key, Turns()))
        except Blocked as blocked:
            raise _refusal(blocked) from None
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is sent
            # Its message may hold what was to be hidden.
            _log.error("masking failed: %s", type(error).__name__)
            raise _unavailable() from None

    async def mask(
        self, text: str, policy: Policy, known: Mapping[str, Kind] = NOTHING_KNOWN
    ) -> str:
        """Return a text as a policy without pseudonyms lets it be seen.

        `known` is what was `found` in what the text may quote.
        """
        if policy.allows_all:
            return text
        if len(text) <= _SMALL:
            return Hider(policy, known=known).whole(text)
        return await self._threads.run(
            lambda: Hider(policy, between=Turns(), known=known).whole(text)
        )

    async def found(self, texts: Sequence[str]) -> Mapping[str, Kind]:
        """Return the personal data of texts that are quoted elsewhere, in parts."""
        if sum(map(len, texts)) <= _SMALL:
            return _found(texts)
        return await self._threads.run(lambda: _found(texts, Turns()))

    async def as_json(self, value: object, policy: Policy) -> str:
        """Return a value as JSON in which a policy without pseudonyms lets every text be seen.

        Tokens told beside a text (`logprobs`) would tell what is hidden: they are left out.
        """
        given = msgspec.json.encode(value)
        if policy.allows_all:
            return given.decode()
        if len(given) <= _SMALL:
            return _masked_json(given, policy)
        return await self._threads.run(lambda: _masked_json(given, policy, Turns()))

    async def change(self, answer: AnswerChange, payload: bytes, *, whole: bool) -> bytes:
        """Return an answer, or a chunk of one, changed."""
        work = answer.whole if whole else answer.chunk
        if len(payload) <= _SMALL:
            return work(payload)
        return await self._threads.run(lambda: work(payload))

    def _session_key(self, session: str | None) -> bytes:
        if session is None:
            return secrets.token_bytes(32)
        return hmac.digest(self._key, session.encode("utf-8", "surrogatepass"), "sha256")


def hiding_answer(policy: Policy) -> AnswerChange:
    """Return what hides an answer's personal data, and the tokens that would tell it."""
    hider = Hider(policy)

    def new_text(in_json: bool, before: str) -> TextInParts:  # noqa: FBT001 - as `NewText` is
        return HidingText(hider, before, in_json=in_json)

    return AnswerChange(new_text, logprobs=False)


def _found(
    texts: Sequence[str], between: Callable[[int], None] | None = None
) -> Mapping[str, Kind]:
    found: dict[str, Kind] = {}
    for text in texts:
        found |= {piece: kind for piece, kind in scan(text) if kind}
        if between:
            between(len(text))
    return found


def _masked_json(given: bytes, policy: Policy, between: Turns | None = None) -> str:
    hider = Hider(policy, between=between)
    value = changed(_without_logprobs(msgspec.json.decode(given)), hider.whole)
    return msgspec.json.encode(value).decode()


def _without_logprobs(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [_without_logprobs(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: [] if name == "logprobs" and each else _without_logprobs(each)
        for name, each in value.items()
    }


def _hidden(
    fields: Mapping[str, Any], policy: Policy, key: bytes, between: Turns | None = None
) -> Hidden:
    given = msgspec.json.encode(fields)
    pseudonyms = Pseudonyms(key, given.decode() if b"PII" in given.upper() else "")
    hider = Hider(policy, pseudonyms, between)
    return Hidden(changed(dict(fields), hider.whole), pseudonyms.originals)


def is_small(fields: Mapping[str, Any]) -> bool:
    """Tell whether fields are short, without looking at all that is there."""
    left, values = _SMALL, list[Any](fields.values())
    while values and left > 0:
        value = values.pop()
        left -= 32
        if isinstance(value, str | bytes | msgspec.Raw):
            left -= len(value if isinstance(value, str) else bytes(value))
        elif isinstance(value, dict):
            values += [*value, *value.values()][:_SMALL]
        elif isinstance(value, list | tuple):
            values += value[:_SMALL]
    return left > 0


def _refusal(blocked: Blocked) -> PiiBlocked:
    path = "".join(reversed(blocked.path)).removeprefix(".")
    return PiiBlocked(
        f"{path}: this holds a {blocked.kind.replace('_', ' ')} ({blocked.kind}), which must not "
        "go to a hosted model: leave it out, or send `x-naru-residency: local`",
        param=path,
        code="pii_blocked",
    )


def _unavailable() -> Unavailable:
    return Unavailable(
        "the request can't be searched for personal data at the moment, and is not sent without; "
        "try again",
        code="masking_unavailable",
        headers={"retry-after": "1"},
    )
