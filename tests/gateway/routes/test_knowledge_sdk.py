"""Every call of the `openai` SDK on files and vector stores, by its async and its sync client."""

import asyncio
import functools
import io
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from gateway_support import Service
from knowledge import job_worker

from config.postgres import open_pool
from config.settings import EmbeddingSettings
from rag import open_embedders

RESOURCES = ("files", "vector_stores", "vector_stores.files", "vector_stores.file_batches")
LEAVE = "연차 휴가는 15일이다.\n\nAnnual leave is 15 days."
STATIC = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20}}
SOON = {"poll_interval_ms": 50}


@pytest.fixture
async def worker(service: Service, sockets: Path) -> AsyncIterator[None]:
    """Reads what the service is given."""
    embedders = open_embedders(EmbeddingSettings(), sockets)
    async with (
        await open_pool(service.database, size=1) as pool,
        job_worker(pool, embedders.default),
    ):
        yield
    await embedders.close()


class Caller:
    """Calls methods of a client by their names, and remembers which."""

    def __init__(self, client: openai.OpenAI | openai.AsyncOpenAI) -> None:
        self.client = client
        self.called: set[str] = set()

    async def __call__(self, name: str, /, *args: Any, **options: Any) -> Any:
        self.called.add(name)
        method = functools.reduce(getattr, name.split("."), self.client)
        if isinstance(self.client, openai.AsyncOpenAI):
            return await method(*args, **options)
        return await asyncio.to_thread(method, *args, **options)

    def methods(self) -> set[str]:
        """Every method there is."""
        found = set()
        for resource in RESOURCES:
            holder = functools.reduce(getattr, resource.split("."), self.client)
            names = {name for name in vars(type(holder)) if not name.startswith(("_", "with_"))}
            found |= {f"{resource}.{name}" for name in names if callable(getattr(holder, name))}
        return found - {"vector_stores.files", "vector_stores.file_batches"}


@pytest.fixture(params=["async", "sync"])
async def call(request: pytest.FixtureRequest, service: Service) -> AsyncIterator[Caller]:
    where = {"base_url": f"{service.url}/v1", "api_key": service.key, "max_retries": 0}
    if request.param == "async":
        async with openai.AsyncOpenAI(**where) as client:
            yield Caller(client)
    else:
        with openai.OpenAI(**where) as client:
            yield Caller(client)


def named(name: str, text: str = LEAVE) -> tuple[str, io.BytesIO]:
    return name, io.BytesIO(text.encode())


async def test_every_method(call: Caller, worker: None) -> None:
    file = await call(
        "files.create",
        file=named("규정.md"),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (file.filename, file.bytes) == ("규정.md", len(LEAVE.encode()))
    assert file.expires_at == pytest.approx(file.created_at + 3600, abs=2)
    assert (await call("files.retrieve", file.id)).id == file.id
    assert (await call("files.wait_for_processing", file.id)).status == "processed"
    page = await call("files.list", purpose="user_data", limit=1, order="desc")
    assert [entry.id for entry in page.data] == [file.id]
    content = await call("files.content", file.id)
    assert content.text == LEAVE
    assert content.response.headers["content-length"] == str(file.bytes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        await call("files.retrieve_content", file.id)

    store = await call(
        "vector_stores.create",
        name="leave",
        description="what is allowed",
        metadata={"team": "hr"},
        expires_after={"anchor": "last_active_at", "days": 7},
        file_ids=[file.id],
        chunking_strategy=STATIC,
    )
    await _stores(call, store.id)
    await _files(call, store.id, file.id)
    await _batches(call, store.id)
    await _search(call, store.id)

    assert (await call("vector_stores.files.delete", file.id, vector_store_id=store.id)).deleted
    assert (await call("vector_stores.delete", store.id)).deleted
    for left in (await call("files.list")).data:
        if left.filename != "handbook.md":
            assert (await call("files.delete", left.id)).deleted
    assert call.called == call.methods()


async def _stores(call: Caller, store: str) -> None:
    shown = await call("vector_stores.retrieve", store)
    assert (shown.name, shown.metadata, shown.expires_after.days) == ("leave", {"team": "hr"}, 7)
    assert shown.expires_at == pytest.approx(shown.last_active_at + 7 * 86400, abs=2)
    renamed = await call("vector_stores.update", store, name="휴가", expires_after=None)
    assert (renamed.name, renamed.metadata) == ("휴가", {"team": "hr"})
    assert (renamed.expires_after, renamed.expires_at) == (None, None)
    assert (await call("vector_stores.list", limit=1)).data[0].id == store


async def _files(call: Caller, store: str, file: str) -> None:
    inside = {"vector_store_id": store}
    first = await call("vector_stores.files.poll", file, **inside, **SOON)
    assert (first.status, first.last_error) == ("completed", None)
    assert first.chunking_strategy.static.max_chunk_size_tokens == 200
    same = await call("vector_stores.files.create", store, file_id=file)
    assert same.id == (await call("vector_stores.files.retrieve", file, **inside)).id == file
    made = await call(
        "vector_stores.files.create_and_poll", file, **inside, attributes={"year": 2025}, **SOON
    )
    assert made.attributes == {"year": 2025}
    changed = await call(
        "vector_stores.files.update", file, **inside, attributes={"year": 2026, "final": True}
    )
    assert changed.attributes == {"year": 2026, "final": True}
    bonus = await call("vector_stores.files.upload", **inside, file=named("bonus.md", "A bonus."))
    await call("vector_stores.files.poll", bonus.id, **inside, **SOON)
    broken = await call(
        "vector_stores.files.upload_and_poll", **inside, file=named("empty.md", ""), **SOON
    )
    assert (broken.status, broken.last_error.code) == ("failed", "invalid_file")
    done = await call("vector_stores.files.list", store, filter="completed", order="asc")
    assert [entry.id for entry in done.data] == [file, bonus.id]
    read = await call("vector_stores.files.content", file, **inside)
    assert "연차 휴가는 15일이다." in read.data[0].text


async def _batches(call: Caller, store: str) -> None:
    inside = {"vector_store_id": store}
    ids = [
        (await call("files.create", file=named(f"{n}.md", f"item {n}"), purpose="assistants")).id
        for n in range(3)
    ]
    made = await call("vector_stores.file_batches.create", store, file_ids=ids[:1])
    done = await call("vector_stores.file_batches.poll", made.id, **inside, **SOON)
    assert (done.status, done.file_counts.completed) == ("completed", 1)
    assert (await call("vector_stores.file_batches.retrieve", made.id, **inside)) == done
    assert (await call("vector_stores.file_batches.cancel", made.id, **inside)) == done
    own = [{"file_id": ids[1], "attributes": {"n": 1}}, {"file_id": ids[2]}]
    both = await call("vector_stores.file_batches.create_and_poll", store, files=own, **SOON)
    assert both.file_counts.completed == 2
    listed = await call("vector_stores.file_batches.list_files", both.id, **inside, order="asc")
    assert {entry.id: entry.attributes for entry in listed.data} == {ids[1]: {"n": 1}, ids[2]: {}}
    sent = await call(
        "vector_stores.file_batches.upload_and_poll",
        store,
        files=[named(f"sent-{n}.md", f"sent {n}") for n in range(3)],
        file_ids=ids[:1],
        **SOON,
    )
    assert (sent.status, sent.file_counts.completed) == ("completed", 4)


async def _search(call: Caller, store: str) -> None:
    for query in ("연차 휴가는 며칠인가요?", ["연차 휴가", "annual leave"]):
        found = await call(
            "vector_stores.search",
            store,
            query=query,
            filters={"type": "and", "filters": [{"type": "gte", "key": "year", "value": 2026}]},
            max_num_results=5,
            ranking_options={"ranker": "auto", "score_threshold": 0.0},
            rewrite_query=True,
        )
        assert {result.filename for result in found.data} == {"규정.md"}
        assert found.data[0].attributes == {"year": 2026, "final": True}


async def test_lists_are_walked_page_by_page(service: Service, call: Caller) -> None:
    made = [(await call("vector_stores.create", name=str(n))).id for n in range(5)]
    first = await call("vector_stores.list", limit=2, order="desc")
    walked, page = [], first
    while page:
        walked += [store.id for store in page.data]
        if not page.has_next_page():
            break
        page = await _next(page)
    assert [id_ for id_ in walked if id_ in made] == made[::-1]
    back = await call("vector_stores.list", limit=2, order="asc", before=made[3])
    assert [store.id for store in back.data] == made[1:3]
    for id_ in made:
        await call("vector_stores.delete", id_)


async def _next(page: Any) -> Any:
    following = page.get_next_page
    if isinstance(page, openai.pagination.AsyncCursorPage):
        return await following()
    return await asyncio.to_thread(following)


async def test_uploads_in_parts_are_told_to_be_unknown(call: Caller) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await call("uploads.create", bytes=1, filename="a", mime_type="text/plain", purpose="batch")
    assert set(caught.value.body) == {"message", "type", "param", "code"}
