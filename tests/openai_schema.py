"""OpenAI's own schema of its answers, and what of an answer does not fit it.

`gateway/contract/openai-*schema.json` hold the components of OpenAI's published OpenAPI document
that an answer needs, without their descriptions. It says OpenAPI 3.1 and still writes
`nullable: true`, which is read here as it is meant. A schema's word that is not known here fails.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_COMPONENTS = {
    name: schema
    for file in (Path(__file__).parent / "gateway/contract").glob("openai-*schema.json")
    for name, schema in json.loads(file.read_text()).items()
}
_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_KNOWN = {
    *("type", "properties", "required", "items", "anyOf", "oneOf", "allOf", "$ref", "enum"),
    *("nullable", "additionalProperties", "minItems", "maxItems", "minimum", "maximum"),
}


def faults(value: object, component: str) -> list[str]:
    """Return what in `value` does not fit OpenAI's component, each with its path."""
    return list(_faults(value, {"$ref": f"#/{component}"}, "$"))


def _faults(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    assert schema.keys() <= _KNOWN, schema.keys() - _KNOWN
    if value is None and schema.get("nullable"):
        return
    if reference := schema.get("$ref"):
        yield from _faults(value, _COMPONENTS[reference.removeprefix("#/")], path)
        return
    for part in schema.get("allOf", ()):
        yield from _faults(value, part, path)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        yield from _faults_of_all(value, choices, path)
    yield from _own_faults(value, schema, path)


def _faults_of_all(value: Any, choices: list[dict[str, Any]], path: str) -> Iterator[str]:
    """Yield a fault of the choice that fits best; none where one fits."""
    possible = [choice for choice in choices if _may_be(value, choice)] or choices
    best: list[str] = []
    for choice in possible:
        found = list(_faults(value, choice, path))
        if not found:
            return
        best = found if not best or len(found) < len(best) else best
    yield best[0]


def _may_be(value: Any, choice: dict[str, Any]) -> bool:
    """Tell whether the object's `type` is one that the choice knows: there are up to 80 of them."""
    while "$ref" in choice:
        choice = _COMPONENTS[choice["$ref"].removeprefix("#/")]
    types = choice.get("properties", {}).get("type", {}).get("enum")
    return not isinstance(value, dict) or not types or value.get("type") in types


def _own_faults(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    kind = schema.get("type")
    if kind and not _is(value, kind):
        yield f"{path}: {kind} expected, not {value!r}"
        return
    if value not in schema.get("enum", [value]):
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        missing = set(schema.get("required", ())) - value.keys()
        yield from (f"{path}.{name} is missing" for name in missing)
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if isinstance(inner, dict):
                yield from _faults(item, inner, f"{path}.{name}")
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _faults(item, schema.get("items", {}), f"{path}[{position}]")


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
