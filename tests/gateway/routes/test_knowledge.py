"""Files and vector stores through the `openai` SDK and by hand."""

import asyncio
import io

import httpx
import openai
from gateway_support import Service


async def test_the_openai_sdk(service: Service) -> None:
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=service.key) as client:
        store = await client.vector_stores.create(name="notes", metadata={"team": "hr"})
        file = await client.files.create(
            file=("notes.txt", io.BytesIO("점심시간은 12시부터다.".encode())), purpose="assistants"
        )
        assert (file.filename, file.status) == ("notes.txt", "processed")
        attached = await client.vector_stores.files.create(store.id, file_id=file.id)
        assert attached.status == "in_progress"
        shown = await client.vector_stores.retrieve(store.id)
        assert (shown.name, shown.file_counts.total) == ("notes", 1)
        listed = [entry.id async for entry in client.vector_stores.files.list(store.id)]
        assert listed == [file.id]
        content = await client.files.content(file.id)
        assert content.text == "점심시간은 12시부터다."
        assert (await client.vector_stores.files.delete(file.id, vector_store_id=store.id)).deleted
        assert (await client.vector_stores.delete(store.id)).deleted
        assert (await client.files.delete(file.id)).deleted


async def test_search(http: httpx.AsyncClient, service: Service) -> None:
    path = f"/v1/vector_stores/{service.store}/search"
    found = (await http.post(path, json={"query": "병가", "max_num_results": 1})).json()
    result = found["data"][0]
    assert result["filename"] == "handbook.md"
    assert "병가" in result["content"][0]["text"]


async def test_pages(http: httpx.AsyncClient) -> None:
    made = [
        (await http.post("/v1/files", files={"file": (f"{n}.txt", b"x")})).json()["id"]
        for n in range(3)
    ]
    first = (await http.get("/v1/files", params={"limit": 2})).json()
    assert [entry["id"] for entry in first["data"]] == made[:0:-1]
    assert first["has_more"] is True
    after = {"limit": 100, "after": first["last_id"]}
    rest = (await http.get("/v1/files", params=after)).json()
    assert rest["data"][0]["id"] == made[0]
    for name in made:
        await http.delete(f"/v1/files/{name}")


async def test_a_file_over_the_limit_is_refused_before_it_is_read(
    http: httpx.AsyncClient,
) -> None:
    big = io.BytesIO(bytes(40_000_000))
    answer = await http.post("/v1/files", files={"file": ("big.bin", big)})
    assert answer.status_code == 413
    assert "3,000,000 bytes" in answer.json()["error"]["message"]


async def test_bad_uploads(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/files", data={"purpose": "assistants"})).status_code == 400
    wrong = await http.post("/v1/files", files={"file": ("a", b"x")}, data={"purpose": "dance"})
    assert wrong.status_code == 400
    for path in (
        "/v1/files/none",
        "/v1/files/%00",
        "/v1/vector_stores/none",
        "/v1/vector_stores/none/files",
    ):
        assert (await http.get(path)).status_code == 404
    search = await http.post("/v1/vector_stores/none/search", json={"query": "x"})
    assert search.status_code == 404
    unknown = await http.post("/v1/vector_stores", json={"nmae": "x"})
    assert unknown.status_code == 400
    broken = {"content-type": "multipart/form-data; boundary=x"}
    answer = await http.post("/v1/files", content=b"--y\r\nnonsense", headers=broken)
    assert answer.status_code == 400


async def test_other_tenants_see_nothing(
    stranger: httpx.AsyncClient, http: httpx.AsyncClient, service: Service
) -> None:
    file = (await http.post("/v1/files", files={"file": ("a.txt", b"x")})).json()["id"]
    paths = (f"/v1/files/{file}", f"/v1/files/{file}/content", f"/v1/vector_stores/{service.store}")
    answers = await asyncio.gather(*(stranger.get(path) for path in paths))
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert (await stranger.get("/v1/files")).json()["data"] == []
    search = await stranger.post(f"/v1/vector_stores/{service.store}/search", json={"query": "x"})
    assert search.status_code == 404
    assert (await stranger.delete(f"/v1/files/{file}")).status_code == 404
    await http.delete(f"/v1/files/{file}")
