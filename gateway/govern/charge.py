"""One request's account: who asked for what, who was asked, what it took, how it ended."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Literal

from config.scope import TenantScope
from gateway.errors import ClientGone, GatewayError
from gateway.openai.usage import TokenUsage

Kind = Literal["chat", "completions", "embeddings", "rerank", "agent"]
Place = Literal["here", "engine", "hosted"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, as far as it can be known before an answer.

    Attributes:
        kind: Which of the APIs.
        model: The alias, `provider/model` or agent that the caller named.
        prompt_bytes: Length of what is asked, as JSON in UTF-8: no tokenizer makes more tokens.
        max_tokens: The longest answer that the caller allows; None where it names none.
        choices: How many answers at a time.
        stream: Whether the answer comes as it is made.
    """

    kind: Kind
    model: str
    prompt_bytes: int = 0
    max_tokens: int | None = None
    choices: int = 1
    stream: bool = False


@dataclass(slots=True)
class Attempt:
    """One target that was asked; the usage of a stream is final once that is closed."""

    target: str
    place: Place
    usage: TokenUsage = field(default_factory=TokenUsage)


@dataclass(slots=True)
class Charge:
    """A request while it is under way.

    Attributes:
        ending: `open`, then `completed`, `client_gone`, or the code of the error that ended it.
        first_token_at: `time.monotonic()` at the first content of a stream.
    """

    scope: TenantScope
    asked: Asked
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)
    attempts: list[Attempt] = field(default_factory=list)
    first_token_at: float | None = None
    ending: str = "open"

    def attempt(self, target: str, place: Place) -> Attempt:
        """Note that a target is asked."""
        attempt = Attempt(target, place)
        self.attempts.append(attempt)
        return attempt

    def note_first_token(self) -> None:
        """Note that the first content is there."""
        self.first_token_at = time.monotonic()

    def end(self, error: BaseException | None = None) -> None:
        """Note how the request ended; what was noted first stays."""
        if self.ending != "open":
            return
        if error is None:
            self.ending = "completed"
        elif isinstance(error, GatewayError) and not isinstance(error, ClientGone):
            self.ending = error.code or error.type
        else:
            self.ending = "client_gone" if _left(error) else "internal_error"


def _left(error: BaseException) -> bool:
    """Tell whether the work was cut off rather than failed: cancelled, or closed early."""
    return isinstance(error, ClientGone) or not isinstance(error, Exception)
