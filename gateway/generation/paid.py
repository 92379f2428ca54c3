"""An attempt that is paid for: what it may take, what it took, and its end where that is more."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

import msgspec
from msgspec.structs import replace

from gateway.errors import (
    BudgetExhausted,
    InvalidRequest,
    Overloaded,
    Unavailable,
    UpstreamError,
    UpstreamRefused,
)
from gateway.generation.allowance import Allowance
from gateway.generation.target import Completion, Payloads, Prompt, Stream
from gateway.generation.transcript import estimate_prompt
from gateway.generation.upstream import UNREACHABLE
from gateway.govern.budgets import Budgets
from gateway.govern.budgets_lease import Hold
from gateway.govern.charge import Attempt
from gateway.govern.prices import Rate

_Answered = TypeVar("_Answered", Completion, Stream)
_UNBILLED = (UpstreamRefused, Overloaded, Unavailable, InvalidRequest)
# How many tokens a stream says at most between two looks at it: as many as before, and some.
_AHEAD_TOKENS = 256
_NS = 10**9
_log = logging.getLogger(__name__)


class Paid(msgspec.Struct, eq=False):
    """One attempt and what is reserved for it.

    Attributes:
        prompt: What the target is asked, so that it keeps to what is paid for.
        tokens: How many tokens of a stream are paid for; None where they cost nothing.
        until: Until when the target may work, by the event loop's clock; None where its time
            costs nothing.
    """

    prompt: Prompt
    attempt: Attempt
    _rate: Rate
    _allowance: Allowance
    _hold: Hold
    _budgets: Budgets
    tokens: int | None = None
    until: float | None = None
    _began: float = 0.0

    def begin(self) -> None:
        """Let the time begin for which the target may work, where that costs anything."""
        paid_ns = self._rate.ns_for(self._hold.amount)
        if paid_ns is not None:
            self._began = asyncio.get_running_loop().time()
            self.until = self._began + paid_ns / _NS

    def ask(self, ask: Callable[[Prompt], Awaitable[_Answered]]) -> Awaitable[_Answered]:
        """Return the target's answer, for as long as is paid for.

        Raises:
            BudgetExhausted: It took longer.
        """
        return ask(self.prompt) if self.until is None else self._in_time(ask)

    async def _in_time(self, ask: Callable[[Prompt], Awaitable[_Answered]]) -> _Answered:
        timeout = asyncio.timeout_at(self.until)
        try:
            async with timeout:
                return await ask(self.prompt)
        except TimeoutError:
            if timeout.expired():
                raise cut_off() from None
            raise

    def heard(self, answered: _Answered) -> _Answered:
        """Settle an answer that is whole; return a stream that is settled when it ends."""
        if isinstance(answered, Stream):
            return replace(answered, payloads=PaidPayloads(answered.payloads, self))
        self.settle()
        return answered

    def settle(self) -> None:
        """Settle what the answer took: its chunks at least, where nobody told its tokens."""
        usage = self.attempt.usage
        if usage.estimated:
            usage.completion_tokens = self._said_at_most()
        self._settle(self._rate.of_usage(usage))

    def settle_failure(self, error: BaseException, *, whole: bool) -> None:
        """Settle an attempt that failed before there was an answer.

        A target that refused did nothing. One that was cut off may have done all that was asked of
        it, where the answer was to come as a whole; else it has read the prompt.
        """
        if not may_have_worked(error):
            self._settle(0)
        elif self._rate.gpu_second:
            self._settle(self._rate.at_most(0, 0, self._passed_ns()))
        elif whole:
            self._settle(self._hold.amount)
        else:
            self._settle(self._rate.at_most(estimate_prompt(self.prompt), 0))

    def follow(self) -> None:
        """Keep a stream to what is paid for, and let the reservation know how far it is."""
        self.tokens = self._rate.tokens_for(self._hold.amount, self._allowance.prompt_tokens)
        if not self._rate.gpu_second:
            self._hold.so_far = lambda: self._by_now(2 * self._said_at_most() + _AHEAD_TOKENS)

    def watch(self) -> None:
        """Look whether what a stream has said so far is paid for.

        Raises:
            BudgetExhausted: That is more than is paid for.
            Unavailable: What is reserved may be others' by now.
        """
        usage = self.attempt.usage
        # An estimate by bytes is no reason to cut: it may be several times the tokens.
        said = usage.chunks if usage.estimated else usage.completion_tokens
        late = self.until is not None and asyncio.get_running_loop().time() > self.until
        if late or (self.tokens is not None and said > self.tokens):
            _log.warning("%s goes beyond the limit it was given", self.attempt.target)
            raise cut_off()
        if self._budgets.alive(self._hold):
            return
        if self._by_now(self._said_at_most()) > self._hold.bound:
            raise Unavailable(
                "the answer was cut off: what is left of a budget can't be looked up",
                code="budget_unavailable",
            )

    def _said_at_most(self) -> int:
        usage = self.attempt.usage
        if not usage.estimated:
            return usage.completion_tokens
        # A target that was told its limit keeps to it, however long its words are.
        most = math.inf if self.tokens is None else self.tokens
        return max(usage.chunks, int(min(usage.completion_tokens, most)))

    def _by_now(self, said: int) -> int:
        return self._rate.at_most(self._allowance.prompt_tokens, said, self._passed_ns())

    def _passed_ns(self) -> int:
        """Return how long a replica has worked by now; 0 where its time costs nothing."""
        if self.until is None:
            return 0
        return math.ceil((asyncio.get_running_loop().time() - self._began) * _NS)

    def _settle(self, cost: int) -> None:
        attempt, hold = self.attempt, self._hold
        if attempt.cost is None:
            attempt.cost = cost
            if cost > hold.amount:
                message = "%s took %d nano-dollars, %d more than its limits allow"
                _log.warning(message, attempt.target, cost, cost - hold.amount)
        hold.settle(attempt.cost)


class PaidPayloads:
    """A stream's payloads, as far as they are paid for; settled when they end."""

    __slots__ = ("_paid", "_payloads")

    def __init__(self, payloads: Payloads, paid: Paid) -> None:
        self._payloads = payloads
        self._paid = paid
        paid.follow()

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next payload.

        Raises:
            BudgetExhausted: The target says more than is paid for.
        """
        try:
            if self._paid.until is None:
                payload = await anext(self._payloads)
            else:
                async with asyncio.timeout_at(self._paid.until):
                    payload = await anext(self._payloads)
            self._paid.watch()
        except TimeoutError:
            await self.aclose()
            raise cut_off() from None
        except BaseException:
            await self.aclose()
            raise
        return payload

    async def aclose(self) -> None:
        """End it, and the upstream's work with it."""
        try:
            await self._payloads.aclose()
        finally:
            self._paid.settle()

    def __del__(self) -> None:
        # Who opens a stream and is cancelled before its first frame has nothing to close yet.
        self._paid.settle()


def cut_off() -> BudgetExhausted:
    """Return the error of an answer that took more than was reserved for it."""
    return BudgetExhausted(
        "the answer was cut off: it took more than was reserved of a budget, though the target was "
        "told its limit",
        code="budget_exhausted",
    )


def may_have_worked(error: BaseException) -> bool:
    """Tell whether a target may have worked for the attempt."""
    if isinstance(error, _UNBILLED):
        return False
    code = (error.code or "") if isinstance(error, UpstreamError) else ""
    return not (code == UNREACHABLE or code.startswith("upstream_status_"))
