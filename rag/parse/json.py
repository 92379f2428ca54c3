"""JSON to text: a line per value, `path: value`; what stands in a list is a paragraph each."""

import json
from collections.abc import Iterator
from typing import TypeAlias

from rag.errors import UnreadableDocument

_PATH_CHARS = 200  # its end: a long name above many values would fill the memory

_Json: TypeAlias = "dict[str, _Json] | list[_Json] | str | bool | None"


def parse_json(text: str) -> str:
    """Return the lines of a JSON document, or of one in every line; other text stays as it is.

    Raises:
        UnreadableDocument: It is nested too deeply.
    """
    try:
        values = [_load(text)]
    except json.JSONDecodeError:
        try:
            values = [_load(line) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError:
            return text
    return "\n\n".join("\n".join(_lines(value, "")) for value in values)


def _load(text: str) -> _Json:
    """Numbers stay as they are written: the text is for reading."""
    try:
        value: _Json = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError as error:
        raise UnreadableDocument("the JSON is nested too deeply to be read") from error
    return value


def _lines(value: _Json, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _lines(member, (f"{path}.{name}" if path else name)[-_PATH_CHARS:])
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                yield ""
            yield from _lines(item, f"{path}[{index}]" if path else "")
    elif value is not None and value != "":
        shown = str(value).lower() if isinstance(value, bool) else value
        yield f"{path}: {shown}" if path else shown
