"""What files and vector stores answer fits OpenAI's schema."""

import contextlib
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from gateway_support import Service
from openai_schema import faults


@pytest.fixture
async def file(http: httpx.AsyncClient) -> AsyncIterator[str]:
    made = await http.post("/v1/files", files={"file": ("a.txt", b"text")})
    yield made.json()["id"]
    await http.delete(f"/v1/files/{made.json()['id']}")


@pytest.fixture
async def store(http: httpx.AsyncClient) -> AsyncIterator[str]:
    made = await http.post("/v1/vector_stores", json={"name": "empty"})
    yield made.json()["id"]
    await http.delete(f"/v1/vector_stores/{made.json()['id']}")


def checked(answer: httpx.Response, component: str) -> dict[str, object]:
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    assert not faults(body, component), body
    return body


@pytest.mark.parametrize("form", [{}, {"expires_after[anchor]": "created_at"}])
async def test_a_file(http: httpx.AsyncClient, form: dict[str, str]) -> None:
    for purpose in ("assistants", "batch", "fine-tune", "vision", "user_data"):
        data = form | {"purpose": purpose}
        if form:
            data["expires_after[seconds]"] = "3600"
        made = await http.post("/v1/files", files={"file": ("a.txt", b"x")}, data=data)
        body = checked(made, "OpenAIFile")
        assert ("expires_at" in body) == bool(form)
        checked(await http.get(f"/v1/files/{body['id']}"), "OpenAIFile")
        checked(await http.get("/v1/files"), "ListFilesResponse")
        checked(await http.delete(f"/v1/files/{body['id']}"), "DeleteFileResponse")


async def test_lists_without_an_object(http: httpx.AsyncClient, store: str) -> None:
    checked(await http.get("/v1/files", params={"purpose": "vision"}), "ListFilesResponse")
    empty = await http.get("/v1/vector_stores", params={"after": store, "before": store})
    assert checked(empty, "ListVectorStoresResponse")["data"] == []
    files = await http.get(f"/v1/vector_stores/{store}/files")
    checked(files, "ListVectorStoreFilesResponse")


async def test_a_store_in_every_state(http: httpx.AsyncClient, service: Service, file: str) -> None:
    expiry = {"anchor": "last_active_at", "days": 1}
    full = {"name": "a", "description": "b", "metadata": {"k": "v"}, "expires_after": expiry}
    for asked in ({}, full, {"file_ids": [file]}):
        made = checked(await http.post("/v1/vector_stores", json=asked), "VectorStoreObject")
        path = f"/v1/vector_stores/{made['id']}"
        checked(await http.get(path), "VectorStoreObject")
        checked(await http.post(path, json={"metadata": None}), "VectorStoreObject")
        checked(await http.get("/v1/vector_stores"), "ListVectorStoresResponse")
        if "expires_after" in asked:
            await _let_expire(service, str(made["id"]))
            assert checked(await http.get(path), "VectorStoreObject")["status"] == "expired"
            search = await http.post(f"{path}/search", json={"query": "x"})
            assert (search.status_code, search.json()["error"]["code"]) == (
                400,
                "vector_store_expired",
            )
        checked(await http.delete(path), "DeleteVectorStoreResponse")


async def _let_expire(service: Service, store: str) -> None:
    con = await asyncpg.connect(service.database)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(con.close)
        await con.execute(
            "UPDATE vector_stores SET last_active_at = now() - interval '2 days' WHERE id = $1",
            store,
        )


@pytest.mark.parametrize("state", ["in_progress", "completed", "failed", "cancelled"])
async def test_a_file_of_a_store_in_every_state(
    http: httpx.AsyncClient, service: Service, store: str, file: str, state: str
) -> None:
    sizes = {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}
    added = {"file_id": file, "attributes": {"a": "b", "n": 1, "f": 1.5, "t": True}}
    if state != "cancelled":
        added["chunking_strategy"] = {"type": "static", "static": sizes}
    folder = f"/v1/vector_stores/{store}/files"
    checked(await http.post(folder, json=added), "VectorStoreFileObject")
    batches = f"/v1/vector_stores/{store}/file_batches"
    made = checked(
        await http.post(batches, json={"file_ids": [file]}), "VectorStoreFileBatchObject"
    )
    con = await asyncpg.connect(service.database)
    await con.execute(
        "UPDATE store_files SET status = $2, error_code = $3, error_message = $3"
        " WHERE store_id = $1",
        *(store, state, "invalid_file" if state == "failed" else None),
    )
    await con.close()
    shown = checked(await http.get(f"{folder}/{file}"), "VectorStoreFileObject")
    assert (shown["status"], shown["attributes"]) == (state, added["attributes"])
    assert ("progress" in shown) == (state == "in_progress")
    checked(await http.get(folder, params={"filter": state}), "ListVectorStoreFilesResponse")
    batch = checked(await http.get(f"{batches}/{made['id']}"), "VectorStoreFileBatchObject")
    assert batch["status"] == state
    listed = await http.get(f"{batches}/{made['id']}/files")
    checked(listed, "ListVectorStoreFilesResponse")
    changed = await http.post(f"{folder}/{file}", json={"attributes": None})
    assert checked(changed, "VectorStoreFileObject")["attributes"] == {}
    checked(await http.delete(f"{folder}/{file}"), "DeleteVectorStoreFileResponse")
    cancelled = await http.post(f"{batches}/{made['id']}/cancel")
    checked(cancelled, "VectorStoreFileBatchObject")


async def test_content_and_search(http: httpx.AsyncClient, service: Service) -> None:
    path = f"/v1/vector_stores/{service.store}"
    (read,) = (await http.get(f"{path}/files")).json()["data"]
    content = await http.get(f"{path}/files/{read['id']}/content")
    checked(content, "VectorStoreFileContentResponse")
    asked = {"query": ["병가", "travel expenses"], "explain": True, "rewrite_query": True}
    found = checked(await http.post(f"{path}/search", json=asked), "VectorStoreSearchResultsPage")
    assert found["search_query"] == asked["query"]
    nothing = {"query": "병가", "filters": {"type": "eq", "key": "no", "value": 1}}
    empty = checked(await http.post(f"{path}/search", json=nothing), "VectorStoreSearchResultsPage")
    assert empty["data"] == []
