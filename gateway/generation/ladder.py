"""A target made of targets: the next one is tried as long as nothing was said yet."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from gateway.errors import (
    BudgetExhausted,
    ContextOverflow,
    GatewayError,
    InvalidRequest,
    ModelUnpriced,
    Unavailable,
    UpstreamInterrupted,
    UpstreamRefused,
)
from gateway.generation.breaker import at_fault, retry_after
from gateway.generation.budget import RetryBudget
from gateway.generation.continuation import Continuation, may_continue
from gateway.generation.target import Completion, Prompt, Stream, Target
from gateway.generation.upstream import UNREACHABLE
from gateway.govern.masking.masking import PiiBlocked
from gateway.openai.engine_fields import ENGINE_ONLY

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result", Completion, Stream)
_BACK_OFF_S = (0.05, 0.25)
_UNPAID = (BudgetExhausted, ModelUnpriced)


class Place(Protocol):
    """A target that a ladder can judge before it asks.

    Attributes:
        place: In this process, on an engine of our own, or at somebody else's.
        context: How many tokens prompt and answer may have together; None when it is not known.
        usable: Whether it can be asked at the moment, as far as is known.
    """

    @property
    def place(self) -> Literal["here", "engine", "hosted"]: ...  # noqa: D102 - see the class

    @property
    def context(self) -> int | None: ...  # noqa: D102

    @property
    def usable(self) -> bool: ...  # noqa: D102

    def first_token_s(self, prompt: Prompt) -> float:
        """Return in how many seconds the first token is to be expected; 0 where none can tell."""
        ...


class Rung(Target, Place, Protocol):
    """What a ladder is made of."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a ladder is climbed.

    Attributes:
        weights: Each rung's share of being the first; None for one that only follows.
        local_only: No prompt goes to a hosted rung.
        first_token_s: An engine that is slower than this is passed; None for none.
        continuation: Whether the next rung goes on with an answer that broke off.
    """

    weights: Sequence[float | None] = ()
    local_only: bool = False
    first_token_s: float | None = None
    continuation: bool = False


class _Climb(msgspec.Struct, eq=False):
    """What one request has met so far."""

    asked: int = 0
    failures: list[tuple[Rung, GatewayError]] = []
    passed: list[str] = []
    again: list[Rung] = []
    context: int | None = None
    strained: bool = False

    @property
    def reason(self) -> str | None:
        """Return who was passed, and why; `TARGET: CODE`, separated by commas."""
        return ", ".join(self.passed) or None

    @property
    def failure(self) -> GatewayError:
        """Return the first failure; one of an upstream says more than one of ours.

        What only money stands against could be answered, had others not failed.
        """
        upstreams = [error for rung, error in self.failures if rung.place != "here"]
        others = (error for error in upstreams if not isinstance(error, _UNPAID))
        return next(others, (upstreams or [self.failures[0][1]])[0])


class Ladder:
    """An alias's targets in their order.

    Moves on when a target fails before its first content; never on the caller's own fault, which
    every rung would refuse alike. Targets that failed in passing are asked once more at the end.
    When all fail, the first failure is the answer: it says most.

    Attributes:
        speaks: Whether a language model is among them.
        local_only: Whether no prompt leaves our own engines.
    """

    def __init__(self, name: str, rungs: Sequence[Rung], policy: Policy | None = None) -> None:
        self.name = name
        self.accepts_unknown = all(rung.accepts_unknown for rung in rungs)
        self.speaks = any(rung.place != "here" for rung in rungs)
        self._rungs = tuple(rungs)
        self._policy = policy or Policy()
        self.local_only = self._policy.local_only
        self._budget = RetryBudget()
        # Where there is one rung alone it is the first.
        weights = enumerate(self._policy.weights if len(rungs) > 1 else ())
        self._weights = {place: weight for place, weight in weights if weight}

    def complete(self, prompt: Prompt) -> Coroutine[Any, Any, Completion]:
        """Return the first rung's answer that succeeds."""
        return self._climb(self._plan(prompt), prompt, _complete)

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the first stream that gives content."""
        plan = self._plan(prompt)
        stream = await self._climb(plan, prompt, _stream)
        if not (self._policy.continuation and may_continue(prompt)):
            return stream
        at = [rung.name for rung in plan].index(stream.target)
        following = [rung for rung in plan[at + 1 :] if rung.place != "here"]
        if not following:
            return stream

        async def go_on(continued: Prompt) -> Stream:
            return await self._climb(following, continued, _stream)

        joined = Continuation(stream, prompt, go_on)
        return replace(stream, payloads=joined, usage=joined.usage)

    def _plan(self, prompt: Prompt) -> Sequence[Rung]:
        """Return the rungs to ask, in their order.

        Raises:
            InvalidRequest: The prompt must not leave, and there is nothing here.
        """
        rungs = self._weighed(prompt) if self._weights else self._rungs
        if self._stays(prompt):
            rungs = [rung for rung in rungs if rung.place != "hosted"]
        if not rungs:
            raise InvalidRequest(
                f"`{self.name}` has no target of our own, and the request must not leave: "
                "name another model, or allow `x-naru-residency: any`",
                param="model",
                code="no_local_target",
            )
        return rungs

    def _weighed(self, prompt: Prompt) -> Sequence[Rung]:
        weights = self._weights
        at = _share(prompt) * sum(weights.values())
        first = max(weights)
        for i, weight in weights.items():
            if at < weight:
                first = i
                break
            at -= weight
        others = [rung for i, rung in enumerate(self._rungs) if i != first]
        return [self._rungs[first], *others]

    async def _climb(
        self,
        rungs: Sequence[Rung],
        prompt: Prompt,
        ask: Callable[[Rung, Prompt], Awaitable[_Result]],
    ) -> _Result:
        climb = _Climb()
        self._budget.count_request()
        try:
            for rung in rungs:
                if self._passes(climb, rung, prompt, last=rung is rungs[-1]):
                    continue
                if result := await self._try(climb, rung, prompt, ask):
                    return result
            for rung in tuple(climb.again):
                if climb.asked:
                    await asyncio.sleep(random.uniform(*_BACK_OFF_S))  # noqa: S311 - no secret
                if self._affords(climb) and (result := await self._try(climb, rung, prompt, ask)):
                    return result
            raise self._told(climb.failure, prompt)
        finally:
            # Their tracebacks hold the climb: it would wait for a garbage collection.
            climb.failures.clear()

    def _passes(self, climb: _Climb, rung: Rung, prompt: Prompt, *, last: bool) -> bool:
        """Tell whether a rung need not be asked; note why."""
        if climb.context and rung.context and rung.context <= climb.context:
            return True
        if climb.strained and rung.place != "here" and not self._budget.spend():
            return True
        limit = self._policy.first_token_s
        if limit is None or last or self._stays(prompt):
            return False
        slow = rung.first_token_s(prompt) > limit
        if slow:
            climb.passed.append(f"{rung.name}: slow_first_token")
            climb.again.insert(0, rung)
        return slow

    def _affords(self, climb: _Climb) -> bool:
        """Tell whether another request may be sent after one that an upstream could not take."""
        return not climb.strained or self._budget.spend()

    async def _try(
        self,
        climb: _Climb,
        rung: Rung,
        prompt: Prompt,
        ask: Callable[[Rung, Prompt], Awaitable[_Result]],
    ) -> _Result | None:
        try:
            fitting = prompt if self.accepts_unknown else self._fitting(rung, prompt)
            result = await ask(rung, fitting)
        except ContextOverflow as error:
            climb.asked += 1
            climb.context = rung.context
            self._note(climb, rung, error)
        except UpstreamRefused:
            raise
        except (Unavailable, PiiBlocked, *_UNPAID) as error:
            # It was not asked.
            self._note(climb, rung, error)
        except GatewayError as error:
            climb.asked += 1
            climb.strained |= rung.place != "here"
            if _may_have_passed(error):
                climb.again.append(rung)
            self._note(climb, rung, error)
        else:
            if not (climb.asked or climb.passed):
                return result
            return replace(result, attempts=climb.asked + result.attempts, reason=climb.reason)
        return None

    def _told(self, failure: GatewayError, prompt: Prompt) -> GatewayError:
        """Return the failure; a prompt that must not leave is asked to come back."""
        if not self._stays(prompt) or not at_fault(failure):
            return failure
        return Unavailable(failure.message, code=failure.code, headers=retry_after(1.0))

    def _stays(self, prompt: Prompt) -> bool:
        return prompt.local_only or self.local_only

    def _note(self, climb: _Climb, rung: Rung, error: GatewayError) -> None:
        _log.warning("%s: target %r failed: %s", self.name, rung.name, error.code)
        climb.failures.append((rung, error))
        climb.passed.append(f"{rung.name}: {error.code}")

    def _fitting(self, rung: Rung, prompt: Prompt) -> Prompt:
        """Return the prompt without what only engines know, where the ladder has both."""
        if rung.place != "hosted":
            return prompt
        fields = {name: value for name, value in prompt.fields.items() if name not in ENGINE_ONLY}
        return replace(prompt, fields=fields)


def _complete(rung: Rung, prompt: Prompt) -> Awaitable[Completion]:
    return rung.complete(prompt)


def _stream(rung: Rung, prompt: Prompt) -> Awaitable[Stream]:
    return rung.stream(prompt)


def _may_have_passed(error: GatewayError) -> bool:
    """Tell whether the same target may answer a moment later; one that says when is left alone."""
    code = error.code or ""
    passing = isinstance(error, UpstreamInterrupted) or code.startswith("upstream_status_5")
    return (passing or code == UNREACHABLE) and not error.headers


def _share(prompt: Prompt) -> float:
    """Return a number in [0, 1): always the same one for one affinity, else any."""
    if prompt.affinity is None:
        return random.random()  # noqa: S311 - no secret
    key = f"{prompt.tenant}\0{prompt.affinity}".encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "big") / 2**56
