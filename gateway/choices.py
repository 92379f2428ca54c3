"""What may stand where a value was refused as none of an enum: the decoder does not say it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec.inspect as shapes
from litestar.exceptions import ValidationException

_REFUSED = "Invalid enum value "
_STEP = re.compile(r"\[[^\]]*\]|[^.\[]+")


def name_choices(error: ValidationException, parameters: Mapping[str, Any]) -> None:
    """Add the choices to what an error says.

    Args:
        error: A request that does not fit its route.
        parameters: The types of what the route takes, by name; a body is `data`.
    """
    for fault in error.extra if isinstance(error.extra, list) else []:
        if fault["message"].startswith(_REFUSED):
            path = f"data.{fault['key']}" if fault.get("source") == "body" else fault["key"]
            name, *steps = _STEP.findall(path)
            if words := _words(shapes.type_info(parameters.get(name)), steps):
                fault["message"] += f"; it is one of {', '.join(words)}"


def _words(shape: shapes.Type, steps: Sequence[str]) -> tuple[str, ...]:
    """Return the words that may stand at a path; none where the path alone does not tell."""
    if isinstance(shape, shapes.Metadata):
        return _words(shape.type, steps)
    if isinstance(shape, shapes.UnionType):
        found = {words for each in shape.types if (words := _words(each, steps))}
        return found.pop() if len(found) == 1 else ()
    if not steps:
        return tuple(map(str, shape.values)) if isinstance(shape, shapes.LiteralType) else ()
    inner = _inner(shape, steps[0])
    return _words(inner, steps[1:]) if inner else ()


def _inner(shape: shapes.Type, step: str) -> shapes.Type | None:
    match shape:
        case shapes.StructType():
            return next((each.type for each in shape.fields if each.encode_name == step), None)
        case shapes.CollectionType():
            return shape.item_type
        case shapes.DictType():
            return shape.value_type
    return None
