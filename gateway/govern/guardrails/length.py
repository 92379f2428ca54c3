"""A guardrail against too much text."""

from collections.abc import Sequence

from config.guardrails import LengthSettings
from gateway.govern.guardrails.parts import Part
from gateway.govern.guardrails.verdict import Action, Verdict


class Length:
    """Counts the characters of all that users say."""

    name = "length"

    def __init__(self, settings: LengthSettings) -> None:
        self._most = settings.max_chars
        self._action = Action[settings.action.upper()]

    def check(self, parts: Sequence[Part]) -> Verdict:
        """Return what it finds, and the part that goes over the limit."""
        said = 0
        for part in parts:
            if part.role == "user":
                said += len(part.text)
                if said > self._most:
                    return Verdict(1.0, self._action, part.path)
        return Verdict()
