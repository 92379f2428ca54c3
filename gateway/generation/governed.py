"""A caller's way to a ladder: reserved before, settled once after, whatever the ending."""

from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import msgspec
from msgspec.structs import replace

from config.scope import TenantScope
from gateway.errors import ContextOverflow
from gateway.generation.allowance import with_one_limit
from gateway.generation.target import Completion, Payloads, Prompt, Stream, Target
from gateway.generation.transcript import words_of
from gateway.govern.charge import Asked, Charge
from gateway.govern.governor import Governor

_Answered = TypeVar("_Answered", Completion, Stream)


class Governed:
    """The target that a caller is given.

    A prompt that carries a charge already is a part of a larger request, which settles itself.
    """

    def __init__(self, ladder: Target, scope: TenantScope, governor: Governor) -> None:
        self.name = ladder.name
        self.accepts_unknown = ladder.accepts_unknown
        self._ladder = ladder
        self._scope = scope
        self._governor = governor

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the whole answer."""
        if prompt.charge:
            return _noted(await self._ladder.complete(prompt), prompt.charge)
        prompt = with_one_limit(prompt)
        charge = Charge(self._scope, asked_of(prompt, self.name, stream=False))
        async with self._governor.governing(charge):
            return _noted(await _fitting(self._ladder.complete, prompt, charge), charge)

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the opened stream; it is settled when its payloads are closed."""
        if prompt.charge:
            stream = _noted(await self._ladder.stream(prompt), prompt.charge)
            return replace(stream, payloads=_Counted(stream.payloads, prompt.charge))
        prompt = with_one_limit(prompt)
        charge = Charge(self._scope, asked_of(prompt, self.name, stream=True))
        async with self._governor.opening(charge):
            stream = await _fitting(self._ladder.stream, prompt, charge)
        charge.note_first_token()
        payloads = _Settled(_noted(stream, charge).payloads, charge, self._governor)
        return replace(stream, payloads=payloads)


def asked_of(prompt: Prompt, model: str, *, stream: bool) -> Asked:
    """Return what a prompt asks for."""
    fields = prompt.fields
    longest = fields.get("max_completion_tokens") or fields.get("max_tokens")
    tools, choices = fields.get("tools"), fields.get("n")
    return Asked(
        kind=prompt.api or prompt.kind,
        model=model,
        prompt_bytes=len(words_of(prompt)) + (_length(tools) if tools else 0),
        max_tokens=None if longest is None else _number(longest),
        choices=(choices and _number(choices)) or 1,
        stream=stream,
    )


def _fitting(
    ask: Callable[[Prompt], Awaitable[_Answered]], prompt: Prompt, charge: Charge
) -> Awaitable[_Answered]:
    """Ask; where the prompt is too long and there is a shorter one, ask that."""
    if prompt.shorter is None:
        return ask(replace(prompt, charge=charge))
    return _shortening(ask, prompt, charge)


async def _shortening(
    ask: Callable[[Prompt], Awaitable[_Answered]], prompt: Prompt, charge: Charge
) -> _Answered:
    while True:
        try:
            return await ask(replace(prompt, charge=charge))
        except ContextOverflow:
            shorter = await prompt.shorter() if prompt.shorter else None
            if shorter is None:
                raise
            prompt = shorter


def _noted(served: _Answered, charge: Charge) -> _Answered:
    """Note on the account why others did not answer; return what was given."""
    charge.fallback = served.reason
    charge.count()
    return served


class _Counted:
    """A stream's payloads, each of which is on the account before anybody sees it."""

    __slots__ = ("_account", "_payloads")

    def __init__(self, payloads: Payloads, charge: Charge) -> None:
        self._payloads = payloads
        self._account = charge

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        payload = await anext(self._payloads)
        self._account.count()
        return payload

    async def aclose(self) -> None:
        await self._payloads.aclose()


class _Settled(_Counted):
    """A stream's payloads that settle the request when they are closed."""

    __slots__ = ("_charge", "_governor")

    def __init__(self, payloads: Payloads, charge: Charge, governor: Governor) -> None:
        super().__init__(payloads, charge)
        self._charge: Charge | None = charge
        self._governor = governor

    async def __anext__(self) -> bytes:
        try:
            payload = await anext(self._payloads)
        except BaseException as error:
            if self._charge:
                self._charge.end(None if isinstance(error, StopAsyncIteration) else error)
            raise
        self._account.count()
        return payload

    async def aclose(self) -> None:
        try:
            await self._payloads.aclose()
        finally:
            charge, self._charge = self._charge, None
            if charge:
                charge.end(GeneratorExit())
                await self._governor.settle(charge)

    def __del__(self) -> None:
        # Who opens a stream and is cancelled before its first frame has nothing to close yet.
        if self._charge:
            self._charge.end(GeneratorExit())
            self._governor.settle_soon(self._charge)


def _length(value: object) -> int:
    return len(value if isinstance(value, msgspec.Raw) else msgspec.json.encode(value))


def _number(value: Any) -> int | None:  # noqa: ANN401 - JSON
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    return value if isinstance(value, int) else None
