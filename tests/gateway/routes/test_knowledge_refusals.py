"""What files and vector stores refuse, and how: the message names the field."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway_support import Service
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LONG = "x" * 10_000
SIZES = {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}


def static(**sizes: object) -> dict[str, object]:
    return {"chunking_strategy": {"type": "static", "static": SIZES | sizes}}


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "eq", "key": "a", "value": 1}
    for _ in range(depth):
        found = {"type": "and", "filters": [found]}
    return found


def compared(**fields: object) -> dict[str, object]:
    return {"query": "x", "filters": {"type": "eq", "key": "a", "value": 1} | fields}


STORES = [
    ({"nmae": "x"}, "nmae"),
    ({"name": "x" * 257}, "name"),
    ({"name": 1}, "name"),
    ({"description": LONG}, "description"),
    ({"file_ids": ["file-0"] * 501}, "file_ids"),
    ({"file_ids": "file-0"}, "file_ids"),
    ({"file_ids": [""]}, "file_ids"),
    ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
    ({"metadata": {"x" * 65: "x"}}, "metadata"),
    ({"metadata": {"x": "x" * 513}}, "metadata"),
    ({"metadata": {"x": 1}}, "metadata"),
    ({"expires_after": {"anchor": "last_active_at", "days": 0}}, "expires_after.days"),
    ({"expires_after": {"anchor": "last_active_at", "days": 366}}, "expires_after.days"),
    ({"expires_after": {"anchor": "last_active_at", "days": 1.5}}, "expires_after.days"),
    ({"expires_after": {"anchor": "created_at", "days": 1}}, "expires_after.anchor"),
    ({"expires_after": {"days": 1}}, "anchor"),
    ({"chunking_strategy": {"type": "semantic"}}, "chunking_strategy.type"),
    ({"chunking_strategy": {"type": "auto", "static": SIZES}}, "static"),
    ({"chunking_strategy": {"type": "static"}}, "static"),
    (static(max_chunk_size_tokens=99), "max_chunk_size_tokens"),
    (static(max_chunk_size_tokens=4097), "max_chunk_size_tokens"),
    (static(chunk_overlap_tokens=51), "chunk_overlap_tokens"),
    (static(chunk_overlap_tokens=-1), "chunk_overlap_tokens"),
]
UPDATES = [
    ({"file_ids": []}, "file_ids"),
    ({"name": "x" * 257}, "name"),
    ({"expires_after": {"anchor": "last_active_at", "days": 366}}, "expires_after.days"),
    ({"metadata": {"x": None}}, "metadata"),
]
FILES = [
    ({}, "file_id"),
    ({"file_id": LONG}, "file_id"),
    ({"file_id": "f", "attributes": {str(n): 1 for n in range(17)}}, "attributes"),
    ({"file_id": "f", "attributes": {"x" * 65: 1}}, "attributes"),
    ({"file_id": "f", "attributes": {"": 1}}, "attributes"),
    ({"file_id": "f", "attributes": {"a": "x" * 513}}, "attributes"),
    ({"file_id": "f", "attributes": {"a": None}}, "attributes"),
    ({"file_id": "f", "attributes": {"a": [1]}}, "attributes"),
    ({"file_id": "f", "attributes": {"a": 10**30}}, "attributes"),
    ({"file_id": "f"} | static(chunk_overlap_tokens=51), "chunk_overlap_tokens"),
]
ATTRIBUTES = [
    ({}, "attributes"),
    ({"attributes": []}, "attributes"),
    ({"attributes": {}, "chunking_strategy": {"type": "auto"}}, "chunking_strategy"),
]
BATCHES = [
    ({}, "file_ids"),
    ({"file_ids": []}, "file_ids"),
    ({"file_ids": ["f"], "files": [{"file_id": "f"}]}, "file_ids"),
    ({"file_ids": ["f"] * 2001}, "file_ids"),
    ({"files": [{"file_id": "f"}] * 2001}, "files"),
    ({"files": [{"file_id": "f"}, {"file_id": 1}]}, "files"),
    ({"file_ids": ["f"], "attributes": {"a": {}}}, "attributes"),
]
SEARCHES = [
    ({}, "query"),
    ({"query": ""}, "query"),
    ({"query": "x" * 8001}, "query"),
    ({"query": []}, "query"),
    ({"query": ["x"] * 17}, "query"),
    ({"query": ["x", ""]}, "query"),
    ({"query": "x", "max_num_results": 0}, "max_num_results"),
    ({"query": "x", "max_num_results": 51}, "max_num_results"),
    ({"query": "x", "ranking_options": {"ranker": "best"}}, "ranking_options.ranker"),
    ({"query": "x", "ranking_options": {"score_threshold": 1.1}}, "score_threshold"),
    (
        {
            "query": "x",
            "ranking_options": {"hybrid_search": {"embedding_weight": 0, "text_weight": 0}},
        },
        "embedding_weight",
    ),
    ({"query": "x", "filters": {"type": "like", "key": "a", "value": "b"}}, "filters.type"),
    (compared(key="x" * 65), "filter"),
    (compared(key=""), "filter"),
    (compared(value=None), "filters.value"),
    (compared(value={}), "filters.value"),
    (compared(value="x" * 513), "filter"),
    (compared(value=["a"]), "filter"),
    (compared(type="in"), "filter"),
    (compared(type="in", value=list(range(1001))), "filters.value"),
    (compared(type="gt", value=["a"]), "filter"),
    (compared(filters=[]), "filters"),
    (compared(type="and"), "filters"),
    ({"query": "x", "filters": {"type": "and", "filters": []}}, "filter"),
    ({"query": "x", "filters": {"type": "or", "filters": [{"type": "eq"}]}}, "filters.filters[0]"),
    ({"query": "x", "filters": nested(8)}, "filters"),
    ({"query": "x", "filters": nested(200)}, "filters"),
    ({"query": "x", "filters": {"type": "or", "filters": [nested(1)] * 101}}, "filters"),
]
BODIES = (
    [("", *case) for case in STORES]
    + [("/{store}", *case) for case in UPDATES]
    + [("/{store}/files", *case) for case in FILES]
    + [("/{store}/files/{file}", *case) for case in ATTRIBUTES]
    + [("/{store}/file_batches", *case) for case in BATCHES]
    + [("/{store}/search", *case) for case in SEARCHES]
)
QUERIES = [
    ("/v1/files", "limit", ["0", "10001", "x", "-1"]),
    ("/v1/files", "order", ["up", ""]),
    ("/v1/vector_stores", "limit", ["0", "101", "1.5"]),
    ("/v1/vector_stores", "order", ["up"]),
    ("/v1/vector_stores/{store}/files", "filter", ["done"]),
    ("/v1/vector_stores/{store}/files", "limit", ["101"]),
]


@pytest.fixture
async def ids(http: httpx.AsyncClient) -> AsyncIterator[dict[str, str]]:
    """A store with a file."""
    file = (await http.post("/v1/files", files={"file": ("a.txt", b"x")})).json()["id"]
    store = (await http.post("/v1/vector_stores", json={"file_ids": [file]})).json()["id"]
    yield {"store": store, "file": file}
    await http.delete(f"/v1/vector_stores/{store}")
    await http.delete(f"/v1/files/{file}")


def refused(answer: httpx.Response, field: str) -> None:
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error.keys(), error["type"]) == (
        {"message", "type", "param", "code"},
        "invalid_request_error",
    )
    assert field in error["message"], error


@pytest.mark.parametrize(("path", "body", "field"), BODIES)
async def test_a_bad_body_is_refused_and_the_field_named(
    http: httpx.AsyncClient, ids: dict[str, str], path: str, body: dict[str, Any], field: str
) -> None:
    before = (await http.get("/v1/vector_stores")).json()
    answer = await http.post(f"/v1/vector_stores{path.format(**ids)}", json=body)
    refused(answer, field)
    assert (await http.get("/v1/vector_stores")).json()["data"] == before["data"]


@pytest.mark.parametrize(("path", "name", "values"), QUERIES)
async def test_a_bad_query_is_refused_and_the_parameter_named(
    http: httpx.AsyncClient, ids: dict[str, str], path: str, name: str, values: list[str]
) -> None:
    for value in values:
        answer = await http.get(path.format(**ids), params={name: value})
        refused(answer, name)
        assert answer.json()["error"]["param"] == name


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"purpose": "dance"}, "purpose"),
        ({"expires_after[anchor]": "created_at"}, "expires_after[seconds]"),
        ({"expires_after[seconds]": "3600"}, "expires_after[anchor]"),
        (
            {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
            "expires_after[seconds]",
        ),
        (
            {"expires_after[anchor]": "created_at", "expires_after[seconds]": "2592001"},
            "expires_after[seconds]",
        ),
        (
            {"expires_after[anchor]": "last_active_at", "expires_after[seconds]": "3600"},
            "expires_after[anchor]",
        ),
        ({"name": "x"}, "name"),
    ],
)
async def test_a_bad_form_is_refused_and_the_field_named(
    http: httpx.AsyncClient, form: dict[str, str], field: str
) -> None:
    before = (await http.get("/v1/files")).json()["data"]
    refused(await http.post("/v1/files", files={"file": ("a", b"x")}, data=form), field)
    assert (await http.get("/v1/files")).json()["data"] == before


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b'{"name": "\\u0000"}'])
async def test_what_is_no_object_or_holds_nul_is_refused(
    http: httpx.AsyncClient, ids: dict[str, str], body: bytes
) -> None:
    headers = {"content-type": "application/json"}
    for path in ("", "/{store}", "/{store}/files", "/{store}/file_batches", "/{store}/search"):
        where = f"/v1/vector_stores{path.format(**ids)}"
        answer = await http.post(where, content=body, headers=headers)
        refused(answer, "")


async def test_a_missing_file_is_named_and_keeps_the_whole_batch_out(
    http: httpx.AsyncClient, ids: dict[str, str]
) -> None:
    path = f"/v1/vector_stores/{ids['store']}/file_batches"
    for body in (
        {"file_ids": [ids["file"], "file-gone"]},
        {"files": [{"file_id": "file-gone"}, {"file_id": ids["file"]}]},
    ):
        answer = await http.post(path, json=body)
        assert answer.status_code == 404
        assert "file-gone" in answer.json()["error"]["message"]
        assert answer.json()["error"]["param"] == next(iter(body))


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("", {"file_ids": ["file-gone"]}, "file_ids"),
        ("/{store}/files", {"file_id": "file-gone"}, "file_id"),
        ("/vs_gone/files", {"file_id": "file-gone"}, None),
    ],
)
async def test_an_id_of_the_body_that_is_not_there_is_named(
    http: httpx.AsyncClient, ids: dict[str, str], path: str, body: dict[str, Any], param: str | None
) -> None:
    answer = await http.post(f"/v1/vector_stores{path.format(**ids)}", json=body)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (param, "not_found")


async def test_another_chunking_of_a_file_that_is_there_is_refused(
    http: httpx.AsyncClient, ids: dict[str, str]
) -> None:
    body = {"file_id": ids["file"]} | static()
    answer = await http.post(f"/v1/vector_stores/{ids['store']}/files", json=body)
    refused(answer, "take it out first")
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("chunking_strategy", "file_already_attached")


async def test_attached_twenty_times_at_once_it_is_there_once(
    http: httpx.AsyncClient, service: Service, ids: dict[str, str]
) -> None:
    folder = f"/v1/vector_stores/{ids['store']}/files"
    answers = await asyncio.gather(
        *(http.post(folder, json={"file_id": ids["file"]}) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len((await http.get(folder)).json()["data"]) == 1
    store = (await http.get(f"/v1/vector_stores/{ids['store']}")).json()
    assert store["file_counts"]["total"] == 1


_WORDS = st.sampled_from(
    [
        *("name", "file_ids", "files", "file_id", "metadata", "attributes", "expires_after"),
        *("anchor", "days", "chunking_strategy", "type", "static", "query", "filters", "key"),
        *("value", "max_num_results", "ranking_options", "ranker", "score_threshold", "explain"),
        *("rewrite_query", "hybrid_search", "embedding_weight", "text_weight", "last_active_at"),
        *("auto", "and", "or", "eq", "in", "gt", "none", "max_chunk_size_tokens"),
    ]
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    _WORDS,
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_WORDS | st.text(max_size=8), inner, max_size=5),
    ),
    max_leaves=12,
)
_FILTERS = st.recursive(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]),
            "key": st.text(max_size=70),
            "value": _SCALARS | st.lists(_SCALARS, max_size=4),
        }
    ),
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "filters": st.lists(inner, max_size=3)}
    ),
    max_leaves=8,
)
_SEARCHES = st.fixed_dictionaries(
    {"query": st.text(max_size=20) | st.lists(st.text(max_size=9), max_size=3)},
    optional={"filters": _FILTERS, "ranking_options": _VALUES, "max_num_results": st.integers()},
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from(["", "/{s}", "/{s}/files", "/{s}/files/x", "/{s}/file_batches"]),
    body=st.dictionaries(_WORDS, _VALUES, max_size=6),
)
async def test_any_body_is_answered_in_good_order(
    http: httpx.AsyncClient, service: Service, path: str, body: dict[str, Any]
) -> None:
    sent = json.dumps(body).encode()
    answer = await http.post(
        f"/v1/vector_stores{path.format(s=service.store)}",
        content=sent,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code in {200, 400, 404}, (sent, answer.text)
    if answer.status_code == 200 and not path:
        await http.delete(f"/v1/vector_stores/{answer.json()['id']}")
    if answer.status_code == 200 and path == "/{s}":
        mended = {"name": "handbook", "expires_after": None, "metadata": None}
        await http.post(f"/v1/vector_stores/{service.store}", json=mended)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=_SEARCHES)
async def test_any_search_is_answered_in_good_order(
    http: httpx.AsyncClient, service: Service, body: dict[str, Any]
) -> None:
    sent = json.dumps(body).encode()
    answer = await http.post(
        f"/v1/vector_stores/{service.store}/search",
        content=sent,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code in {200, 400}, (sent, answer.text)
