"""Instructions are a template of plain substitution, with typed and bounded variables."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.definition import AgentDefinition
from gateway.agents.inert import visible
from gateway.agents.variables import check_template, fill
from gateway.errors import InvalidRequest

VARIABLES = {
    "team": {"type": "string", "max_length": 20},
    "tone": {"type": "string", "choices": ["formal", "plain"], "default": "plain"},
    "year": {"type": "integer", "minimum": 2000, "maximum": 2100, "default": 2026},
    "share": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5},
    "strict": {"type": "boolean", "default": True},
}


def agent(instructions: str, variables: Any = VARIABLES) -> AgentDefinition:
    body = {"name": "hr", "model": "default", "vector_stores": []}
    return msgspec.convert(
        {**body, "instructions": instructions, "variables": variables}, AgentDefinition
    )


def test_values_stand_where_their_names_did() -> None:
    template = agent("For {{team}} in {{ year }}: {{tone}}, {{share}}, {{strict}}. {{team}}!")
    assert fill(template, {"team": "재무팀", "share": 1, "strict": False}) == (
        "For 재무팀 in 2026: plain, 1, false. 재무팀!"
    )


@pytest.mark.parametrize(
    ("given_", "param", "reason"),
    [
        ({}, "variables.team", "needed"),
        ({"team": None}, "variables.team", "needed"),
        ({"team": "x", "teem": "y"}, "variables.teem", "no such variable: team, tone"),
        ({"team": 3}, "variables.team", "text"),
        ({"team": "x" * 21}, "variables.team", "limit of 20"),
        ({"team": "x", "tone": "rude"}, "variables.tone", "formal, plain"),
        ({"team": "x", "year": 1999}, "variables.year", "2000 to 2100"),
        ({"team": "x", "year": 2020.5}, "variables.year", "whole number"),
        ({"team": "x", "year": True}, "variables.year", "whole number"),
        ({"team": "x", "year": "2020"}, "variables.year", "whole number"),
        ({"team": "x", "share": 1.5}, "variables.share", "0.0 to 1.0"),
        ({"team": "x", "share": float("nan")}, "variables.share", "0.0 to 1.0"),
        ({"team": "x", "strict": "yes"}, "variables.strict", "true or false"),
        ({"team": "x", "strict": 1}, "variables.strict", "true or false"),
    ],
)
def test_what_does_not_fit_is_named(given_: dict[str, Any], param: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        fill(agent("{{team}}"), given_)
    assert refused.value.param == param
    assert reason in refused.value.message


@given(st.text(max_size=200))
def test_a_value_opens_and_closes_no_fence_and_is_not_looked_at_again(value: str) -> None:
    variables = {"team": {"type": "string"}, "tone": {"type": "string", "default": "LEAK"}}
    filled = fill(agent("<rules>{{team}}</rules>", variables), {"team": value})
    inner = filled.removeprefix("<rules>").removesuffix("</rules>")
    assert "<" not in inner
    assert ">" not in inner
    assert "LEAK" not in filled or "LEAK" in value
    assert inner == visible(inner)


def test_a_value_that_looks_like_a_template_stays_a_text() -> None:
    assert fill(agent("{{team}}"), {"team": "{{tone}}{{7*7}}%s{0}"}) == "{{tone}}{{7*7}}%s{0}"


@pytest.mark.parametrize("name", ["unknown", "Team", "team.name", "team|upper", "_"])
def test_a_template_names_declared_variables_alone(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_template(agent("Dear {{ " + name + " }}"))
    assert refused.value.param == "instructions"
    assert name in refused.value.message


def test_what_is_no_name_stays_as_it_is() -> None:
    text = 'Answer as {"a": {"b": 1}}, or {{ "json": 1 }}, or {{7*7}}.'
    definition = agent(text, {})
    check_template(definition)
    assert fill(definition, {}) == text


@pytest.mark.parametrize(
    "variable",
    [
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "integer", "default": 3, "maximum": 2},
        {"type": "string", "choices": ["long"], "max_length": 3},
        {"type": "string", "choices": ["a"], "default": "b"},
    ],
)
def test_a_declaration_that_no_value_fits_is_refused(variable: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_template(agent("", {"x": variable}))
    assert refused.value.param is not None
    assert refused.value.param.startswith("variables.x")


@pytest.mark.parametrize(
    "variables",
    [
        {"X": {"type": "string"}},
        {"x\n": {"type": "string"}},
        {"x": {"type": "code"}},
        {"x": {"type": "string", "template": "{% %}"}},
        {"x": {"type": "string", "max_length": 5000}},
        {f"v{n}": {"type": "string"} for n in range(33)},
    ],
)
def test_declarations_are_typed_and_bounded(variables: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        agent("", variables)
