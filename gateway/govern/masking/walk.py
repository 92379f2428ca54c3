"""Every text within a JSON value, changed in its place.

Roles, types, ids and media are left alone. JSON that stands in a string (a tool call's arguments)
is read as JSON: what its escapes say, and numbers, too.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from gateway.govern.masking.hide import Blocked

Change = Callable[[str, str], str]
"""Text, and what stands before it -> text."""

_MEDIA = frozenset({"url", "image_url", "audio_url", "video_url", "file_url"})
_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.=+-]+)*;base64,[A-Za-z0-9+/=_\r\n-]*")
_LEFT_ALONE = frozenset(
    {"role", "type", "id", "tool_call_id", "call_id", "format", "detail", "file_data", "file_id"}
)
_AUDIO = "input_audio"
_EMBEDDED = frozenset({"arguments"})
_CALLERS_OWN = frozenset({"metadata"})
_ESCAPED = re.compile(r"\s*[\[{].*\\u[0-9a-fA-F]{4}", re.DOTALL)
_LEAST_NUMBER = 10**8


def changed(value: Any, change: Change, key: str = "") -> Any:  # noqa: ANN401 - JSON
    """Return a value with all its texts changed; `key` is its name.

    Raises:
        Blocked: `change` refuses one; its path is told as far as it lies within the value.
    """
    if isinstance(value, str):
        return value if key in _LEFT_ALONE else _text(value, change, key)
    if isinstance(value, dict) and key != _AUDIO:
        return {name: _member(name, each, change) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_item(i, each, change, key) for i, each in enumerate(value)]
    if isinstance(value, msgspec.Raw):
        return changed(msgspec.json.decode(value), change, key)
    return value


def _member(name: str, value: Any, change: Change) -> Any:  # noqa: ANN401 - JSON
    try:
        walk = _within if name in _CALLERS_OWN else changed
        return walk(value, change, name)
    except Blocked as blocked:
        blocked.path.append(f".{name}")
        raise


def _item(index: int, value: Any, change: Change, key: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return changed(value, change, key)
    except Blocked as blocked:
        blocked.path.append(f"[{index}]")
        raise


def _text(text: str, change: Change, key: str) -> str:
    if key in _MEDIA and _DATA_URL.fullmatch(text):
        return text
    if key in _EMBEDDED or _ESCAPED.match(text):
        return _embedded(text, change, key)
    return change(text, _named(key))


def _named(key: str) -> str:
    return f"{key}: " if key else ""


def _embedded(text: str, change: Change, key: str) -> str:
    try:
        value = json.loads(text, object_pairs_hook=_named_once, parse_constant=_no_json)
        other = _within(value, change, "")
    except (ValueError, RecursionError):
        return change(text, _named(key))
    if other == value:
        return text
    return json.dumps(other, ensure_ascii=False, separators=(",", ":"))


def _named_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse JSON in which a value would be lost, and so not be looked at."""
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a name comes twice")
    return found


def _no_json(constant: str) -> Any:  # noqa: ANN401 - JSON
    raise ValueError(f"{constant} is not JSON")


def _within(value: Any, change: Change, key: str) -> Any:  # noqa: ANN401 - JSON
    """Change names and large numbers too: here all of it is the caller's own."""
    if isinstance(value, str):
        return change(value, _named(key))
    if isinstance(value, dict):
        return {change(name, ""): _within(each, change, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_within(each, change, key) for each in value]
    if isinstance(value, int) and value >= _LEAST_NUMBER:
        said = str(value)
        other = change(said, _named(key))
        return value if other == said else other
    return value
