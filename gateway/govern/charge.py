"""One request's account: who asked for what, who was asked, what it took, how it ended.

All of it is msgspec's structs, not dataclasses: each request makes some, at a fraction of the cost.
"""

import time
from contextvars import ContextVar
from typing import Literal, Protocol

import msgspec
from opentelemetry.trace import Span

from config.scope import TenantScope
from gateway.errors import ClientGone, code_of
from gateway.govern.prices import Rate
from gateway.ids import new_id
from gateway.observe.propagation import UNTRACED, Trace
from gateway.openai.usage import TokenUsage

Kind = Literal["chat", "completions", "responses", "embeddings", "moderations", "rerank", "agent"]
Place = Literal["here", "engine", "hosted"]

CLIENT_GONE = "client_gone"
SERVER_SHUTDOWN = "server_shutdown"
ABSTAINED = "abstained"
"""The ending of an agent's turn whose answer is that the documents do not hold one."""


class Exchange(msgspec.Struct):
    """The HTTP request that work is done for.

    Attributes:
        request_id: As `x-request-id` says it; empty where there was none.
        left: The ending of what is cut off: `client_gone`, unless somebody knows better.
        headers: Of its answer: how the caller stands at its limits.
        status: Of its answer, once that has begun.
        phases: Seconds spent on each part of the work, by name.
        trace: Which trace it belongs to.
    """

    request_id: str = ""
    left: str = CLIENT_GONE
    headers: dict[str, str] = {}
    status: int = 0
    phases: dict[str, float] = {}
    trace: Trace = UNTRACED


_exchange: ContextVar[Exchange] = ContextVar("exchange")


def begin_exchange(exchange: Exchange) -> None:
    """Say what this task, and those that it starts, work for from here on."""
    _exchange.set(exchange)


def current_exchange() -> Exchange:
    """Return what this task works for; one of its own where nobody said so."""
    return _exchange.get(None) or Exchange()


class Asked(msgspec.Struct, frozen=True):
    """What a request asks for, as far as it can be known before an answer.

    Attributes:
        kind: Which of the APIs.
        model: The alias, `provider/model` or agent that the caller named.
        prompt_bytes: Length of what is asked, as JSON in UTF-8: no tokenizer makes more tokens.
        max_tokens: The longest answer that the caller allows; None where it names none.
        choices: How many answers at a time.
        stream: Whether the answer comes as it is made.
        alias: The model that an agent answers with; empty where a model was asked.
        context_tokens: How many tokens an agent may add: of its history and its passages.
    """

    kind: Kind
    model: str
    prompt_bytes: int = 0
    max_tokens: int | None = None
    choices: int = 1
    stream: bool = False
    alias: str = ""
    context_tokens: int = 0

    @property
    def models(self) -> tuple[str, ...]:
        """Return what limits of a model may name: what was asked, and what answers for it."""
        return (self.model, self.alias) if self.alias not in ("", self.model) else (self.model,)


class Attempt(msgspec.Struct):
    """One target that was asked; the usage of a stream is final once that is closed.

    Attributes:
        rate: What it costs; None where no price is known.
        reserved: What was reserved for it, in US nano-dollars (10^-9); 0 where no budget counts it.
        bookings: Where its cost is booked: period and lease of each budget.
        cost: In US nano-dollars; None where no price is known, or it has not ended.
        failed: Whether it ended before there was an answer, or broke off and another went on.
        span: Of a request that is traced, until it is settled.
        ended_ns: When it ended, as `time.time_ns` tells; None: with its settlement.
    """

    target: str
    place: Place
    usage: TokenUsage = msgspec.field(default_factory=TokenUsage)
    rate: Rate | None = None
    reserved: int = 0
    bookings: tuple[tuple[int, str], ...] = ()
    cost: int | None = None
    failed: bool = False
    span: Span | None = None
    ended_ns: int | None = None

    def price(self) -> None:
        """Say what it cost by its usage, unless that was said already."""
        if self.cost is None and self.rate:
            self.cost = self.rate.of_usage(self.usage)


class Entry(Protocol):
    """Where a request's account is kept while it is open, so that a crash does not lose it."""

    def note_attempt(self) -> None:
        """Take over the attempts as they are."""
        ...

    def count(self, usage: TokenUsage) -> None:
        """Take over the last attempt's tokens; cheap enough for every chunk."""
        ...


class Charge(msgspec.Struct):
    """A request while it is under way.

    Attributes:
        ending: `open`, then `completed`, `abstained`, `client_gone`, `server_shutdown`,
            `cancelled` or the code of the error that ended it.
        first_token_at: `time.monotonic()` at the first content of a stream.
        fallback: Why earlier targets did not answer, or not to the end, as `Served.reason` says.
        agent_version: Of an agent's turn.
        verdicts: What guardrails found, by their names.
        entry: Where it is kept while it is open.
    """

    scope: TenantScope
    asked: Asked
    id: str = msgspec.field(default_factory=new_id)
    at: float = msgspec.field(default_factory=time.time)
    started: float = msgspec.field(default_factory=time.monotonic)
    attempts: list[Attempt] = []
    first_token_at: float | None = None
    ending: str = "open"
    fallback: str | None = None
    agent_version: int | None = None
    verdicts: dict[str, str] = {}
    exchange: Exchange = msgspec.field(default_factory=current_exchange)
    entry: Entry | None = None

    def attempt(
        self,
        target: str,
        place: Place,
        rate: Rate | None = None,
        *,
        reserved: int = 0,
        bookings: tuple[tuple[int, str], ...] = (),
        beside: bool = False,
    ) -> Attempt:
        """Note that a target is asked; `beside` what answers, which stays the last one."""
        attempt = Attempt(target, place, rate=rate, reserved=reserved, bookings=bookings)
        if beside:
            self.attempts.insert(0, attempt)
        else:
            self.attempts.append(attempt)
        if entry := self.entry:
            entry.note_attempt()
        return attempt

    def withdraw(self, attempt: Attempt) -> None:
        """Note that a target was not asked after all."""
        self.attempts = [each for each in self.attempts if each is not attempt]
        if entry := self.entry:
            entry.note_attempt()

    def break_off(self) -> None:
        """Note that the attempt under way failed in the middle of its answer."""
        if self.attempts:
            self.attempts[-1].failed = True

    def note_passed(self, *passed: str | None) -> None:
        """Note, besides those known, targets that were passed, each as `TARGET: CODE`."""
        self.fallback = ", ".join(filter(None, [self.fallback, *passed])) or None

    def count(self) -> None:
        """Note the tokens of the attempt under way, as they are now."""
        entry, attempts = self.entry, self.attempts
        if entry and attempts:
            entry.count(attempts[-1].usage)

    def note_first_token(self) -> None:
        """Note that the first content is there."""
        self.first_token_at = time.monotonic()

    def end(self, error: BaseException | None = None) -> None:
        """Note how the request ended; what was noted first stays."""
        if self.ending != "open":
            return
        if error is None:
            self.ending = "completed"
        elif isinstance(error, Exception) and not isinstance(error, ClientGone):
            self.ending = code_of(error)
        else:
            # It was cut off rather than failed: cancelled, or closed early.
            self.ending = self.exchange.left
