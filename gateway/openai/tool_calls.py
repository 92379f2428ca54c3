"""Tool calls of any server, whole or in parts, made to fit OpenAI's schema."""

import uuid
from typing import Any

import msgspec

_Json = dict[str, Any]


class StreamedCalls:
    """The calls of one streamed answer, numbered in the order in which they begin.

    Servers leave numbers out, give all calls the same, or leave ids empty. What names a function
    begins a call, unless the call of that number has the same id.
    """

    __slots__ = ("_ids", "_last", "_numbers")

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._numbers: dict[int | str, int] = {}
        self._last: int | str = ""

    def part(self, part: _Json) -> _Json:
        """Return a part with its call's number; the first one alone has an id and a type."""
        index, given = part.get("index"), part.get("id")
        told = given if isinstance(given, str) else ""
        self._last = index if type(index) is int else told or self._last
        number = self._numbers.get(self._last)
        if number is not None and (not _names(part) or (told and told == self._ids[number])):
            part.pop("id", None)
            return _with_arguments(part) | {"index": number}
        number = self._numbers[self._last] = len(self._ids)
        self._ids.append(told)
        return _headed(part) | {"index": number}


def whole_call(call: _Json) -> _Json:
    """Return a call of an answer that is not streamed."""
    call.pop("index", None)
    return _headed(call)


def _with_arguments(call: _Json) -> _Json:
    """Return a call whose arguments are a string: some servers send the object, or nothing."""
    function = call.get("function")
    if isinstance(function, dict):
        given = function.get("arguments")
        if not isinstance(given, str):
            function["arguments"] = "" if given is None else msgspec.json.encode(given).decode()
    return call


def _headed(call: _Json) -> _Json:
    return _with_arguments(call) | {
        "id": call.get("id") or f"call_{uuid.uuid4().hex}",
        "type": call.get("type") or "function",
    }


def _names(part: _Json) -> bool:
    tool = part.get("function") or part.get("custom")
    return isinstance(tool, dict) and bool(tool.get("name"))
