"""Sources of vector stores over HTTP; who reaches them is in `test_objects`."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

URLS = {"kind": "urls", "urls": ["https://docs.example.com/a.md"]}


@pytest.fixture
async def sources(http: httpx.AsyncClient) -> AsyncIterator[str]:
    """The path of an empty store's sources."""
    store = (await http.post("/v1/vector_stores", json={"name": "synced"})).json()["id"]
    yield f"/v1/vector_stores/{store}/sources"
    await http.delete(f"/v1/vector_stores/{store}")


async def test_a_source_is_made_listed_changed_asked_for_and_deleted(
    http: httpx.AsyncClient, sources: str
) -> None:
    made = (await http.post(sources, json={"origin": URLS})).json()
    assert made["object"] == "vector_store.source"
    assert made["origin"] == URLS
    assert made["schedule"] is made["next_run_at"] is made["last_run"] is None
    assert made["failures"] == []
    one = f"{sources}/{made['id']}"
    assert (await http.get(one)).json() == made
    listed = (await http.get(sources)).json()
    assert (listed["data"], listed["has_more"]) == ([made], False)

    changed = (await http.patch(one, json={"schedule": "weekly"})).json()
    assert changed["schedule"] == "weekly"
    assert changed["next_run_at"] >= made["created_at"]
    urls = [*URLS["urls"], "https://docs.example.com/b.md"]
    changed = (await http.patch(one, json={"urls": urls})).json()
    assert changed["origin"]["urls"] == urls
    assert changed["schedule"] == "weekly"
    changed = (await http.patch(one, json={"schedule": None})).json()
    assert changed["schedule"] is changed["next_run_at"] is None

    started = await http.post(f"{one}/sync")
    assert started.status_code == 202
    assert started.json()["next_run_at"] >= made["created_at"]
    gone = (await http.delete(one)).json()
    assert gone == {"id": made["id"], "object": "vector_store.source.deleted", "deleted": True}
    assert (await http.get(one)).status_code == 404
    assert (await http.get(sources)).json()["data"] == []


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({}, "origin", "origin"),
        ({"origin": {"kind": "ftp"}}, "origin.kind", "ftp"),
        ({"origin": {"kind": "urls", "urls": []}}, "origin.urls", "length >= 1"),
        ({"origin": URLS | {"secret": "x"}}, "origin", "secret"),
        ({"origin": URLS, "schedule": "yearly"}, "schedule", "yearly"),
        ({"origin": {"kind": "folder", "folder": "x"}}, "folder", "sync.folders"),
        ({"origin": {"kind": "bucket", "bucket": "x"}}, "bucket", "sync.buckets"),
        ({"origin": {"kind": "urls", "urls": ["https://a.example"]}}, "urls[0]", "sync.hosts"),
        ({"origin": {"kind": "urls", "urls": ["file:///etc/passwd"]}}, "urls[0]", "http"),
    ],
)
async def test_a_source_that_can_t_be_is_400_and_says_what_to_change(
    http: httpx.AsyncClient, sources: str, body: dict[str, Any], param: str, message: str
) -> None:
    answer = await http.post(sources, json=body)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert message in error["message"]
    if "origin" not in param and param != "schedule":
        assert (error["param"], error["code"]) == (param, "source_not_allowed")


async def test_only_a_list_of_urls_has_urls_to_change(
    http: httpx.AsyncClient, sources: str
) -> None:
    source = (await http.post(sources, json={"origin": URLS})).json()["id"]
    answer = await http.patch(f"{sources}/{source}", json={"urls": ["https://a.example/"]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "urls[0]"
    assert (await http.get(f"{sources}/{source}")).json()["origin"] == URLS
