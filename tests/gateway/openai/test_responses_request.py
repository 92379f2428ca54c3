"""The documentation's table says of every field whether it is served."""

import re
from pathlib import Path

import msgspec
import pytest

from gateway.openai import responses_request
from gateway.openai.responses_request import CreateResponse

DOCS = Path(__file__).parents[3] / "docs" / "responses.md"


def test_the_tables_name_every_field() -> None:
    served, _, refused = DOCS.read_text().partition("## What answers 400, and why")
    named = set(re.findall(r"`([a-z_]+)(?:\.[a-z_]+)?(?:: auto)?`", served))
    assert set(CreateResponse.__struct_fields__) - {"stream_options"} <= named
    refused = refused.partition("## Files")[0]
    for name in (*responses_request._NOT_SERVED, "item_reference", "file_url", "stream_options"):
        assert name in refused, name


@pytest.mark.parametrize("name", ["a b", "a\n", "", "x" * 65])
def test_names_of_functions_are_letters_digits_and_dashes(name: str) -> None:
    body = {"model": "m", "input": "a", "tools": [{"type": "function", "name": name}]}
    with pytest.raises(msgspec.ValidationError, match=r"\$\.tools\[0\]\.name"):
        msgspec.convert(body, CreateResponse)
