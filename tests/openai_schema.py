"""OpenAI's own schema of its answers, and what of an answer does not fit it.

`gateway/contract/openai-schema.json` holds the components of OpenAI's published OpenAPI document
that an answer needs, without their descriptions. It says OpenAPI 3.1 and still writes
`nullable: true`, which is read here as it is meant. A schema's word that is not known here fails.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_COMPONENTS = json.loads(
    (Path(__file__).parent / "gateway/contract/openai-schema.json").read_text()
)
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
        found = [list(_faults(value, choice, path)) for choice in choices]
        if all(found):
            yield min(found, key=len)[0]
    yield from _own_faults(value, schema, path)


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
