"""The texts of a request, each with its place and who says it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.govern.masking.walk import changed

LONGEST_PIECE = 8_000
"""How many characters a model judges at a time, at most."""
_SHARED = 200
_NOT_JUDGED = frozenset({"", "system", "developer", "assistant"})
_USERS_OWN = frozenset({"prompt", "input", "message", "query", "documents", "suffix"})


@dataclass(frozen=True, slots=True)
class Part:
    """A text of a request.

    Attributes:
        path: Where it stands, such as `messages[2].content[0]`.
        role: Who says it; empty where the request's own fields do, such as tools.
    """

    path: str
    role: str
    text: str


def parts_of(fields: Mapping[str, Any], *, instructions: bool = True) -> list[Part]:
    """Return the texts of an OpenAI request; `instructions` are those of system messages."""
    return [
        part
        for part in _of(fields)
        if part.text and (instructions or part.role not in {"system", "developer"})
    ]


def pieces_of(fields: Mapping[str, Any]) -> list[Part]:
    """Return what users and tools say, each text once, long ones in pieces that overlap."""
    pieces = dict[str, Part]()
    for part in parts_of(fields, instructions=False):
        if part.role not in _NOT_JUDGED:
            for piece in cut(part.text):
                pieces.setdefault(piece, Part(part.path, part.role, piece))
    return list(pieces.values())


def cut(text: str) -> Iterator[str]:
    """Yield a text in pieces that a model can judge; none where it says nothing."""
    for start in range(0, max(len(text) - _SHARED, 1), LONGEST_PIECE - _SHARED):
        if (piece := text[start : start + LONGEST_PIECE]).strip():
            yield piece


def _of(fields: Mapping[str, Any]) -> Iterator[Part]:
    for name, given in fields.items():
        value = msgspec.json.decode(given) if isinstance(given, msgspec.Raw) else given
        if name != "messages":
            yield from _members(name, value, "user" if name in _USERS_OWN else "")
            continue
        for i, message in enumerate(value):
            for member, content in message.items():
                yield from _members(f"messages[{i}].{member}", content, message.get("role", ""))


def _members(path: str, value: Any, role: str) -> Iterator[Part]:  # noqa: ANN401 - JSON
    key = path.rpartition(".")[2]
    if not isinstance(value, list | tuple):
        value, paths = [value], [path]
    else:
        paths = [f"{path}[{i}]" for i in range(len(value))]
    for each, where in zip(value, paths, strict=True):
        yield from (Part(where, role, text) for text in _texts(each, key))


def _texts(value: Any, key: str) -> list[str]:  # noqa: ANN401 - JSON
    texts = list[str]()

    def note(text: str, before: str) -> str:
        del before
        texts.append(text)
        return text

    changed(value, note, key)
    return texts
