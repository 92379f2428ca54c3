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


async def test_a_search_is_explained_where_that_is_asked_for(
    http: httpx.AsyncClient, service: Service
) -> None:
    path = f"/v1/vector_stores/{service.store}/search"
    plain = (await http.post(path, json={"query": "travel expenses"})).json()
    assert "explain" not in plain
    assert not any("explain" in result for result in plain["data"])
    asked = {"query": "travel expenses", "explain": True}
    told = (await http.post(path, json=asked)).json()
    assert [result["chunk_id"] for result in told["data"]] == [
        result["chunk_id"] for result in plain["data"]
    ]
    search, best = told["explain"], told["data"][0]
    assert search["embedding_weight"] > 0
    assert search["term_weights"]["travel"] > 0
    assert search["timings"]["total"] > 0
    assert len(search["index_ids"]) == 1
    assert best["explain"] == {
        "lexical_score": best["lexical"],
        "lexical_rank": 1,
        "dense_score": best["similarity"],
        "dense_rank": 1,
        "reranker_score": None,
    }


async def test_the_weights_of_the_legs_can_be_given(
    http: httpx.AsyncClient, service: Service
) -> None:
    path = f"/v1/vector_stores/{service.store}/search"
    for weights, share in (((0, 1), 0.0), ((1, 0), 1.0), ((1, 3), 0.25)):
        hybrid = {"embedding_weight": weights[0], "text_weight": weights[1]}
        asked = {"query": "travel expenses", "explain": True}
        told = await http.post(path, json=asked | {"ranking_options": {"hybrid_search": hybrid}})
        assert told.json()["explain"]["embedding_weight"] == share
    strict = {"query": "travel expenses", "ranking_options": {"score_threshold": 1}}
    for result in (await http.post(path, json=strict)).json()["data"]:
        assert result["score"] == 1


async def test_what_was_searched_is_told(http: httpx.AsyncClient, service: Service) -> None:
    path = f"/v1/vector_stores/{service.store}/search"
    asked = {"query": ["병가는 며칠인가요?", "Who pays?"], "rewrite_query": True}
    told = (await http.post(path, json=asked)).json()
    assert told["search_query"] == ["병가", "pays"]
    assert "병가" in told["data"][0]["content"][0]["text"]


async def test_a_file_comes_back_as_a_download(http: httpx.AsyncClient) -> None:
    data = bytes(range(256)) * 5000
    made = await http.post("/v1/files", files={"file": ('규정 "1".html', data)})
    answer = await http.get(f"/v1/files/{made.json()['id']}/content")
    assert answer.content == data
    headers = answer.headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-length"] == str(len(data))
    assert headers["content-disposition"].startswith("attachment; filename*=UTF-8''%EA%B7%9C")
    assert headers["x-content-type-options"] == "nosniff"
    await http.delete(f"/v1/files/{made.json()['id']}")


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
