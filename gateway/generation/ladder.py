"""A target made of targets: the next one is tried as long as nothing was said yet."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from gateway.errors import GatewayError, UpstreamRefused
from gateway.generation.target import Completion, Prompt, Stream, Target

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result", Completion, Stream)


class Ladder:
    """An alias's targets in their order.

    Moves on when a target fails before its first content; never on the caller's own fault, which
    every rung would refuse alike. When all fail, the first failure is the answer: it says most.
    """

    def __init__(self, name: str, rungs: Sequence[Target]) -> None:
        self.name = name
        self._rungs = tuple(rungs)
        self.accepts_unknown = all(rung.accepts_unknown for rung in rungs)

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the first rung's answer that succeeds."""
        return await self._climb(lambda rung: rung.complete(prompt))

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the first stream that gives content."""
        return await self._climb(lambda rung: rung.stream(prompt))

    async def _climb(self, ask: Callable[[Target], Awaitable[_Result]]) -> _Result:
        first: GatewayError | None = None
        for attempt, rung in enumerate(self._rungs, start=1):
            try:
                return replace(await ask(rung), attempts=attempt)
            except UpstreamRefused:
                raise
            except GatewayError as error:
                _log.warning("%s: target %s failed: %s", self.name, rung.name, error.code)
                first = first or error
        assert first is not None, "a ladder has at least one rung"  # noqa: S101 - settings say so
        raise first
