"""JSON schemas that callers send."""

from collections.abc import Iterator
from typing import Any


def leads_nowhere(schema: object) -> bool:
    """Tell whether a `$ref` anywhere in the schema leads back to itself before any value is read.

    `{"$ref": "#"}` fits nothing; compilers of schemas follow it until their stack ends.
    """
    known: dict[int, bool] = {}
    return any(_follow(node, schema, known) for node in _nodes(schema))


def _follow(node: object, root: object, known: dict[int, bool]) -> bool:
    """Tell whether what must hold of the same value as `node` ends in a circle."""
    if not isinstance(node, dict):
        return False
    if id(node) not in known:
        known[id(node)] = True  # for whoever comes back here on the way
        circles = [_follow(other, root, known) for other in _same_value(node, root)]
        known[id(node)] = any(circles)
    return known[id(node)]


def _same_value(node: dict[str, Any], root: object) -> Iterator[object]:
    if "$ref" in node:
        yield _resolve(node["$ref"], root)
    for word in ("allOf", "anyOf", "oneOf"):
        choices = node.get(word)
        if isinstance(choices, list) and (word == "allOf" or len(choices) == 1):
            yield from choices


def _resolve(reference: object, root: object) -> object:
    """Return what a local reference means (RFC 6901), or None."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _nodes(schema: object) -> Iterator[object]:
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, dict | list):
            waiting.extend(node.values() if isinstance(node, dict) else node)
