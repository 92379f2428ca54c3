"""Text with its personal data hidden, as a policy says."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.policy import Action, Policy
from gateway.govern.masking.pseudonyms import Pseudonyms
from gateway.govern.masking.scan import Piece, Scanner

PART = 2_048
"""How many characters of a text are looked at in one go."""

_ANYTHING = re.compile("[0-9@]")
NOTHING_KNOWN: Mapping[str, Kind] = {}


@dataclass(slots=True)
class Blocked(Exception):
    """Personal data that must not go there.

    Attributes:
        path: Where it stands, such as `messages[0].content`, from the inmost part outwards.
    """

    kind: Kind
    path: list[str] = field(default_factory=list)


class Hider:
    """Hides by one policy; `pseudonyms` is needed where that has some.

    `between` parts of long texts is told how many characters were looked at. `known` are texts that
    were found elsewhere: they are hidden also where nothing says what they are.
    """

    def __init__(
        self,
        policy: Policy,
        pseudonyms: Pseudonyms | None = None,
        between: Callable[[int], None] | None = None,
        known: Mapping[str, Kind] = NOTHING_KNOWN,
    ) -> None:
        self._policy = policy
        self._pseudonyms = pseudonyms
        self._between = between
        self._known = known
        self._any_known = _any_of(known) if known else None

    def whole(self, text: str, before: str = "") -> str:
        """Return a text; `before` is what stands before it.

        Raises:
            Blocked: It holds what must not go there.
        """
        if text.isascii() and not _ANYTHING.search(text):
            return text
        scanner, parts = Scanner(before), list[str]()
        for start in range(0, len(text), PART):
            part = text[start : start + PART]
            parts.append(self.hidden(scanner.push(part)))
            if self._between:
                self._between(len(part))
        return "".join([*parts, self.hidden(scanner.finish())])

    def hidden(self, pieces: list[Piece]) -> str:
        """Return the text that pieces make."""
        if self._any_known is None and all(kind is None for _, kind in pieces):
            return "".join(text for text, _ in pieces)
        return "".join(
            self._instead(kind, text) if kind else self._without_known(text)
            for text, kind in pieces
        )

    def _without_known(self, text: str) -> str:
        if self._any_known is None:
            return text
        return self._any_known.sub(lambda it: self._instead(self._known[it[0]], it[0]), text)

    def _instead(self, kind: Kind, text: str) -> str:
        action = self._policy.action(kind)
        if action is Action.BLOCK:
            raise Blocked(kind)
        if action is Action.ALLOW:
            return text
        if action is Action.PSEUDONYM and self._pseudonyms:
            return self._pseudonyms.of(kind, text)
        return f"[{kind.label}]"


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(map(re.escape, texts), key=len, reverse=True)
    return re.compile(f"(?<![0-9A-Za-z])(?:{'|'.join(longest_first)})(?![0-9A-Za-z])")


class HidingText:
    """One text in parts, its personal data hidden; `before` is what stands before it.

    `in_json`: a number of a JSON document becomes a string, where it is hidden.
    """

    def __init__(self, hider: Hider, before: str = "", *, in_json: bool = False) -> None:
        self._hider = hider
        self._scanner = Scanner(before)
        self._json = _Strings() if in_json else None

    def push(self, text: str) -> str:
        """Return what is decided with this part."""
        return self._shown(self._scanner.push(text))

    def finish(self) -> str:
        """Return what was held back."""
        return self._shown(self._scanner.finish())

    def _shown(self, pieces: list[Piece]) -> str:
        if self._json is None:
            return self._hider.hidden(pieces)
        parts = list[str]()
        for text, kind in pieces:
            within = self._json.read(text)
            shown = self._hider.hidden([(text, kind)])
            parts.append(shown if within or shown == text else f'"{shown}"')
        return "".join(parts)


class _Strings:
    """Where the strings of a JSON document are that comes in parts."""

    def __init__(self) -> None:
        self._within = False
        self._escaped = False

    def read(self, text: str) -> bool:
        """Go on; tell whether the text begins within a string."""
        began = self._within
        for character in text:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = self._within
            elif character == '"':
                self._within = not self._within
        return began
