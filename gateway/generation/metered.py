"""A rung whose every attempt stands on the request's account, and is paid for before it is made."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from gateway.errors import ModelUnpriced, Unavailable
from gateway.generation.allowance import Terms, with_limit
from gateway.generation.ladder import Rung
from gateway.generation.paid import Paid, may_have_worked
from gateway.generation.target import Completion, Prompt, Stream
from gateway.generation.transcript import estimate_prompt
from gateway.govern.charge import Attempt
from gateway.govern.money import Money
from gateway.observe.asking import Asking, end_span
from gateway.openai.usage import TokenUsage

_Answered = TypeVar("_Answered", Completion, Stream)


class Metered:
    """What a ladder is made of: the rung itself, and what asking it costs."""

    def __init__(self, rung: Rung, money: Money | None = None, terms: Terms | None = None) -> None:
        self._rung = rung
        self._money = money or Money()
        self._terms = terms or Terms(None)
        self._free = self._terms.rate is not None and self._terms.rate.free
        self.name = rung.name
        self.place = rung.place
        self.accepts_unknown = rung.accepts_unknown

    @property
    def context(self) -> int | None:
        """Return how many tokens prompt and answer may have together, where that is known."""
        return self._rung.context

    @property
    def usable(self) -> bool:
        """Return whether it can be asked at the moment, as far as is known."""
        return self._rung.usable

    def first_token_s(self, prompt: Prompt) -> float:
        """Return in how many seconds the first token is to be expected."""
        return self._rung.first_token_s(prompt)

    def complete(self, prompt: Prompt) -> Coroutine[Any, Any, Completion]:
        """Return the whole answer, and what it took on the account.

        Raises:
            BudgetExhausted: The caller's budget does not pay for it.
            ModelUnpriced: The caller has a budget, and what the rung costs is not known.
        """
        return self._answer(self._rung.complete, prompt, stream=False)

    def stream(self, prompt: Prompt) -> Coroutine[Any, Any, Stream]:
        """Return the opened stream; what it takes grows on the account.

        Raises:
            BudgetExhausted: The caller's budget does not pay for it.
            ModelUnpriced: The caller has a budget, and what the rung costs is not known.
        """
        return self._answer(self._rung.stream, prompt, stream=True)

    async def _answer(
        self, ask: Callable[[Prompt], Awaitable[_Answered]], prompt: Prompt, *, stream: bool
    ) -> _Answered:
        paid = await self._pay(prompt)
        attempt = paid.attempt if paid else self._attempt(prompt)
        try:
            with Asking(attempt, prompt.kind, prompt.fields, stream=stream) as asking:
                try:
                    answered = await (paid.ask(ask) if paid else ask(prompt))
                except BaseException as error:
                    if paid:
                        paid.settle_failure(error, whole=not stream)
                    self._note_failure(attempt, prompt, error)
                    raise
                if attempt:
                    attempt.usage = answered.usage
                return asking.heard(paid.heard(answered) if paid else answered)
        except Unavailable:
            # It rests, or its queue is full: nothing was sent.
            if attempt and prompt.charge:
                prompt.charge.withdraw(attempt)
                end_span(attempt)
            raise

    def _note_failure(self, attempt: Attempt | None, prompt: Prompt, error: BaseException) -> None:
        """Note that a target which may have worked has read the prompt; nobody told more."""
        if attempt and self.place != "here" and may_have_worked(error):
            attempt.usage = TokenUsage(estimate_prompt(prompt), 0, estimated=True)

    def _attempt(self, prompt: Prompt) -> Attempt | None:
        if prompt.charge is None:
            return None
        rate, beside = self._terms.rate, prompt.beside
        return prompt.charge.attempt(self.name, self.place, rate, beside=beside)

    async def _pay(self, prompt: Prompt) -> Paid | None:
        """Reserve what the answer may cost; None where no budget counts it."""
        charge, terms = prompt.charge, self._terms
        if charge is None or self._free:
            return None
        rate, budgets = terms.rate, self._money.budgets
        bound = budgets.bound(charge.scope)
        if not bound:
            return None
        if rate is None:
            raise ModelUnpriced(
                f"model: the caller's spending is counted, and nobody said what {self.name} "
                "costs: set its price in `prices`, or declare it free",
                param="model",
                code="model_unpriced",
            )
        allowance = terms.allowance(rate, prompt, self._rung.context)
        hold = budgets.at_hand(bound, allowance.most)
        if hold is None:
            hold = await budgets.hold(charge.scope, allowance.least, allowance.most)
        attempt = charge.attempt(
            self.name,
            self.place,
            rate,
            reserved=hold.amount,
            bookings=hold.bookings,
            beside=prompt.beside,
        )
        tokens = allowance.tokens_for(hold.amount)
        if tokens is not None:
            prompt = with_limit(prompt, terms.limit, tokens)
        paid = Paid(prompt, attempt, rate, allowance, hold, budgets)
        if rate.gpu_second:
            paid.begin()
        return paid
