"""What a guardrail is, and what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from gateway.govern.guardrails.parts import Part


class Action(IntEnum):
    """What becomes of a request, from the least strict to the strictest."""

    ALLOW = 0
    FLAG = 1
    LOCAL = 2
    BLOCK = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one guardrail found.

    Attributes:
        score: How sure it is, from 0 to 1.
        action: What is to become of the request.
        path: The part that it was found in, such as `messages[2].content`; empty for none.
        category: Of what is found, where a model tells kinds apart.
        judged: Whether anybody could judge it; else the action is what the settings say of that.
    """

    score: float = 0.0
    action: Action = Action.ALLOW
    path: str = ""
    category: str = ""
    judged: bool = True

    def __str__(self) -> str:
        """Return it as usage records say it."""
        found = f"{self.score:.2f} {self.category}".rstrip() if self.judged else "unjudged"
        return f"{self.action.name.lower()} {found}"


class Guardrail(Protocol):
    """Judges the texts of one request; it may take its time, in a thread of its own.

    Attributes:
        name: As usage records and errors say it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class

    def check(self, parts: Sequence[Part]) -> Verdict:
        """Return what it finds."""
        ...
