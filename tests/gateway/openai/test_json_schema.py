"""Schemas whose references lead nowhere, which stop a compiler of schemas."""

import itertools
from typing import Any

import pytest

from gateway.openai.json_schema import leads_nowhere

ROUND = {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}
TREE = {"properties": {"left": {"$ref": "#"}, "right": {"anyOf": [{"$ref": "#"}]}}}


@pytest.mark.parametrize(
    ("schema", "nowhere"),
    [
        ({"$ref": "#"}, True),
        ({"allOf": [{"$ref": "#"}]}, True),
        ({"oneOf": [{"$ref": "#"}]}, True),
        ({"properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": ROUND}, True),
        ({"$defs": ROUND}, True),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"$ref": "#/$defs/a~1b"}}}, True),
        (TREE, False),
        ({"anyOf": [{"$ref": "#"}, {"type": "string"}]}, False),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, False),
        ({"$ref": "#/nothing"}, False),
        ({"$ref": "https://example.com/schema"}, False),
        ({"$ref": 3, "allOf": 4}, False),
        ({"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {}}}, False),
        (None, False),
    ],
)
def test_which_schemas_lead_nowhere(schema: Any, nowhere: bool) -> None:
    assert leads_nowhere(schema) is nowhere


def test_references_that_multiply_are_followed_once_each() -> None:
    names = [f"d{n}" for n in range(100)]
    defs: dict[str, Any] = {
        name: {"allOf": [{"$ref": f"#/$defs/{following}"}] * 10}
        for name, following in itertools.pairwise(names)
    }
    assert not leads_nowhere({"$ref": "#/$defs/d0", "$defs": defs})
