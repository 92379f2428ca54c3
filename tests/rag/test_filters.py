"""What a filter matches: SQL against a reference, and which filters are refused."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Literal
from unicodedata import normalize

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rag
from rag.attach import attributes_json
from rag.filters import MAX_COMPARISONS, MAX_DEPTH, Comparison, Compound, Filter, compile_filter

Form = Literal["NFC", "NFD"]

ORDERED = ("gt", "gte", "lt", "lte")

KEYS = st.sampled_from(["year", "team", "draft", "팀", 'quo"te', "$1", "a\0b"])
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, -0.0, 2.5, 1e300, -1e-300, 2**53, 2**53 + 1]),
    st.floats(allow_nan=False, allow_infinity=False),
)
TEXTS = st.one_of(
    st.sampled_from(["1", "true", "a", "B", "é", "z", "가", "나", ""]), st.text("aZ가")
)
VALUES = st.one_of(NUMBERS, TEXTS, st.booleans())
ONE = st.builds(Comparison, KEYS, st.sampled_from(["eq", "ne", *ORDERED]), VALUES)
SEVERAL = st.builds(Comparison, KEYS, st.sampled_from(["in", "nin"]), st.lists(VALUES, max_size=4))
FILTERS = st.recursive(
    st.one_of(ONE, SEVERAL),
    lambda inner: st.builds(
        Compound, st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(KEYS.map(lambda key: key.replace("\0", "\ufffd")), VALUES, max_size=4)


def matches(wanted: Filter, attributes: Mapping[str, object]) -> bool:
    """The reference: what OpenAI's words mean, in Python."""
    if isinstance(wanted, Compound):
        told = [matches(each, attributes) for each in wanted.filters]
        return all(told) if wanted.op == "and" else any(told)
    found = typed(attributes.get(wanted.key.replace("\0", "\ufffd")))
    values = [typed(value) for value in wanted.values]
    if wanted.op in {"eq", "in"}:
        return found in values
    if wanted.op in {"ne", "nin"}:
        return found not in values
    if found[0] != values[0][0]:
        return False
    one, other = found[1], values[0][1]
    return {"gt": one > other, "gte": one >= other, "lt": one < other, "lte": one <= other}[
        wanted.op
    ]


def typed(value: object) -> tuple[str, object]:
    if isinstance(value, bool) or value is None:
        return type(value).__name__, value
    if isinstance(value, str):
        return "text", value
    return "number", Decimal(repr(value))  # as it is written in JSON


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(wanted=FILTERS, rows=st.lists(ATTRIBUTES, min_size=1, max_size=8))
async def test_sql_matches_what_the_reference_matches(
    owner: asyncpg.Connection, wanted: Filter, rows: list[dict[str, object]]
) -> None:
    condition = compile_filter(wanted, column="f.attributes", first=2)
    query = (
        f"SELECT {condition.sql} FROM unnest($1::text[]) WITH ORDINALITY AS r (json, place),"
        " LATERAL (SELECT r.json::jsonb AS attributes) AS f ORDER BY place"
    )
    found = await owner.fetch(query, [json.dumps(row) for row in rows], *condition.arguments)
    assert [row[0] for row in found] == [matches(wanted, row) for row in rows]


async def test_texts_are_ordered_by_code_point_whatever_the_database_sorts_by(
    owner: asyncpg.Connection,
) -> None:
    for low, high in [("B", "a"), ("z", "é"), ("a", "가")]:
        condition = compile_filter(Comparison("k", "lt", high), column="f.a", first=2)
        query = f"SELECT {condition.sql} FROM (SELECT $1::text::jsonb AS a) AS f"
        assert await owner.fetchval(query, json.dumps({"k": low}), *condition.arguments)


@pytest.mark.parametrize(("stored", "asked"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
async def test_decomposed_and_composed_hangul_are_one_text(
    owner: asyncpg.Connection, stored: Form, asked: Form
) -> None:
    attributes = attributes_json({normalize(stored, "부서"): normalize(stored, "인사팀")})
    key, team = normalize(asked, "부서"), normalize(asked, "인사팀")
    for wanted in (Comparison(key, "in", ["x", team]), Comparison(key, "gte", team)):
        condition = compile_filter(wanted, column="f.a", first=2)
        query = f"SELECT {condition.sql} FROM (SELECT $1::text::jsonb AS a) AS f"
        assert await owner.fetchval(query, attributes, *condition.arguments)


def nested(depth: int) -> Filter:
    inner: Filter = Comparison("k", "eq", 1)
    for _ in range(depth - 1):
        inner = Compound("and", [inner])
    return inner


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Comparison("k", "like", "x"), "'like'"),
        (lambda: Comparison("", "eq", "x"), "key"),
        (lambda: Comparison("k" * 65, "eq", "x"), "64"),
        (lambda: Comparison("k", "eq", ["x"]), "one value"),
        (lambda: Comparison("k", "in", "x"), "list"),
        (lambda: Comparison("k", "in", ["x"] * 1001), "1000"),
        (lambda: Comparison("k", "eq", None), "a text, a number or a boolean"),
        (lambda: Comparison("k", "in", [["x"]]), "a text, a number or a boolean"),
        (lambda: Comparison("k", "eq", float("nan")), "range"),
        (lambda: Comparison("k", "gt", 10**400), "range"),
        (lambda: Comparison("k", "eq", "x" * 513), "512"),
        (lambda: Compound("not", [nested(1)]), "'not'"),
        (lambda: Compound("and", []), "at least one"),
        (lambda: nested(MAX_DEPTH + 1), "deep"),
        (lambda: Compound("or", [nested(1)] * (MAX_COMPARISONS + 1)), "100"),
    ],
)
def test_what_is_no_filter_is_refused_with_what_to_change(
    make: Callable[[], Filter], said: str
) -> None:
    with pytest.raises(rag.FilterRefused, match=said):
        make()


def test_the_bounds_themselves_are_allowed() -> None:
    assert nested(MAX_DEPTH).depth == MAX_DEPTH
    assert Compound("or", [nested(1)] * MAX_COMPARISONS).size == MAX_COMPARISONS
