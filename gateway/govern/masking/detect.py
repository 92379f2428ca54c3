"""Personal data in normalised text, from left to right."""

import re
from collections.abc import Callable, Iterator, Sequence

from gateway.govern.masking.kinds import Found, Kind
from gateway.govern.masking.rules import AHEAD, CONTEXT, HEADED, LETTERED, NUMBERED, Rule, bare

REACH = 180
"""No more characters than these, from its first one on, decide whether something is found."""

_NUMBER = re.compile(
    r"[0-9](?<![0-9].)(?=(?:[ .()/_~-]{0,3}[0-9]){7}|(?<=[A-Za-z].)[0-9A-Za-z ]{5})", re.DOTALL
)
"""The first digit of what may be a number of a kind."""

_PREFIX = re.compile(r"[A-Za-z+(]")
_LONGEST_PREFIX = 2
_ROW = re.compile(r"\n|<tr\b", re.IGNORECASE)
_AT = re.compile(r"@(?<=[0-9A-Za-z._%+-]@)(?=[0-9A-Za-z])")
_LOCAL = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._%+-"
_DOMAIN = re.compile(
    r"(?:[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?\.){1,8}[A-Za-z][0-9A-Za-z-]{1,23}"
    r"(?![0-9A-Za-z])"
)
_LONGEST_LOCAL, _LONGEST_DOMAIN = 64, 100
_NO_DOMAIN = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|bmp|ico|css|jsx?|tsx?|json|html?|go|ya?ml|toml|txt|pdf)$",
    re.IGNORECASE,
)
"""A file's name, `icon@2x.png`: none of these is a domain."""


def _any_shape(rules: Sequence[Rule]) -> re.Pattern[str]:
    """Compile one shape for all of the rules': most digits have none of them."""
    return re.compile("|".join(dict.fromkeys(rule.shape.pattern for rule in rules)))


_BY_LETTERS, _BY_DIGITS = (LETTERED, _any_shape(LETTERED)), (NUMBERED, _any_shape(NUMBERED))
_WORDLESS = "0123456789 -.,"
"""What tells nothing of a number that it stands before."""

_OPEN_NUMBER = re.compile(
    r"(?:[A-Z]{2}[0-9]{2} [A-Z]{0,4}|[+(]{0,2}[0-9])(?:[ .()/_~-]{0,3}[0-9]|[A-Za-z])*"
)
_OPEN_WORD = _LOCAL + "@"


Over = Callable[[int], str | None]
"""What the head says that a place stands under (`columns`): nothing of some columns of a table."""


def detect(text: str, start: int, stop: int, over: Over | None) -> Iterator[Found]:
    """Yield what begins in `text[start:stop]`, without overlaps.

    What stands before `start` is context alone; `over` is asked for places in their order.
    """
    number, email = _next_number(text, start, over), _next_email(text, start, start)
    while number or email:
        if number and (email is None or number.start < email.start):
            found = number
        else:
            assert email is not None, "one of them is there"  # noqa: S101
            found = email
        if found.start >= stop:
            return
        yield found
        if number and number.start < found.end:
            number = _next_number(text, found.end, over)
        if email and email.start < found.end:
            email = _next_email(text, found.end, found.end)


def undecided(text: str, start: int) -> int:
    """Return from where on more text could change what is found; the length where nowhere."""
    least = max(start, len(text) - REACH)
    tail = text[least:]
    word = least + min(len(tail.rstrip(_OPEN_WORD)), _before_prefix(tail))
    last = None
    for run in _OPEN_NUMBER.finditer(tail):
        last = run
    if last is None or not _may_go_on(tail, last.end()):
        return word
    return min(word, least + last.start())


def _before_prefix(tail: str) -> int:
    """Return where the brackets and signs begin that a number may begin with."""
    last = tail[-_LONGEST_PREFIX:]
    return len(tail) - len(last) + len(last.rstrip("+("))


def _may_go_on(tail: str, end: int) -> bool:
    return len(tail) - end < AHEAD and "\n" not in tail[end:]


def _next_number(text: str, start: int, over: Over | None) -> Found | None:
    for digit in _NUMBER.finditer(text, start):
        for first in _firsts(text, digit.start(), start):
            if found := _number_at(text, first, over):
                return found
    return None


def _firsts(text: str, digit: int, floor: int) -> Iterator[int]:
    """Yield where a number may begin whose first digit is at `digit`."""
    first = digit
    while first > floor and digit - first < _LONGEST_PREFIX and _PREFIX.match(text, first - 1):
        first -= 1
    yield from range(first, digit + 1)


def _number_at(text: str, first: int, over: Over | None) -> Found | None:
    rules, shape = _BY_LETTERS if text[first].isalpha() else _BY_DIGITS
    if not shape.match(text, first):
        return None
    before = text[max(0, first - CONTEXT) : first]
    head = over(first) if over else None
    if head is not None:
        # The line of the heads, just before, tells of other columns.
        before = _ROW.split(before)[-1]
    said = before if before.strip(_WORDLESS) else ""
    found = _by(rules, text, first, said)
    return found or (_by(HEADED, text, first, head) if head else None)


def _by(rules: Sequence[Rule], text: str, first: int, before: str) -> Found | None:
    for rule in rules:
        match = rule.shape.match(text, first)
        if match and rule.holds(match, bare(match), before):
            return Found(rule.kind, first, match.end())
    return None


def _is_code(domain: re.Match[str]) -> bool:
    called = domain.string[domain.end() : domain.end() + 1] == "("
    return called or bool(_NO_DOMAIN.search(domain[0]))


def _next_email(text: str, start: int, floor: int) -> Found | None:
    for at in _AT.finditer(text, start):
        index = at.start()
        before = text[max(floor, index - _LONGEST_LOCAL) : index]
        local = len(before) - len(before.rstrip(_LOCAL))
        domain = _DOMAIN.match(text, index + 1, index + 1 + _LONGEST_DOMAIN)
        if local and domain and not _is_code(domain):
            return Found(Kind.EMAIL, index - local, domain.end())
    return None
