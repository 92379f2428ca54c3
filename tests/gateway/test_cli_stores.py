"""`naru store` and `naru ingest --store` against a running service."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from gateway_support import Service
from knowledge import job_worker

from config.postgres import open_pool
from rag.testing import InMemoryEmbedder


class Naru:
    """The command line, with the service's key."""

    def __init__(self, folder: Path, service: Service) -> None:
        self._folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith("NARU")}
        where = {"NARU_URL": service.url, "NARU_API_KEY": service.key, "COLUMNS": "200"}
        self._environ = clean | where

    async def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-P", "-m", "gateway", *arguments],
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    async def say(self, *arguments: str) -> str:
        result = await self.run(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    async def refuse(self, *arguments: str) -> str:
        result = await self.run(*arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.count("\n") == 1, result.stderr
        return result.stderr


@pytest.fixture
def naru(tmp_path: Path, service: Service) -> Naru:
    return Naru(tmp_path, service)


async def test_a_store_is_made_listed_and_deleted_by_its_name(
    naru: Naru, http: httpx.AsyncClient
) -> None:
    id_ = await naru.say("store", "create", "규정 집", "--expires-after-days", "7")
    made = (await http.get(f"/v1/vector_stores/{id_}")).json()
    assert (made["name"], made["expires_after"]["days"]) == ("규정 집", 7)
    lines = (await naru.say("store", "list")).splitlines()
    assert lines[0] == f"{id_}  규정 집  completed  0 files  0 bytes"
    assert await naru.say("store", "delete", "규정 집") == ""
    assert (await http.get(f"/v1/vector_stores/{id_}")).status_code == 404
    assert "no store is called" in await naru.refuse("store", "delete", "규정 집")
    assert "no vector store with id" in await naru.refuse("store", "delete", id_)


async def test_a_name_that_two_have_is_not_guessed(naru: Naru, http: httpx.AsyncClient) -> None:
    ids = [await naru.say("store", "create", "twin") for _ in range(2)]
    told = await naru.refuse("store", "delete", "twin")
    assert all(id_ in told for id_ in ids)
    for id_ in ids:
        await naru.say("store", "delete", id_)


async def test_every_store_is_listed_over_all_pages(naru: Naru, http: httpx.AsyncClient) -> None:
    made = [
        (await http.post("/v1/vector_stores", json={"name": f"many {n}"})).json()["id"]
        for n in range(105)
    ]
    listed = [line.split()[0] for line in (await naru.say("store", "list")).splitlines()]
    assert [id_ for id_ in listed if id_ in made] == made[::-1]
    for id_ in made:
        await http.delete(f"/v1/vector_stores/{id_}")


async def test_documents_go_into_a_store_named_by_its_name(
    naru: Naru, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("# a")
    id_ = await naru.say("store", "create", "named")
    reading = asyncio.create_task(naru.run("ingest", "a.md", "--store", "named"))
    async with asyncio.timeout(60):
        while not (found := (await http.get(f"/v1/vector_stores/{id_}/files")).json()["data"]):
            await asyncio.sleep(0.05)
        # Nobody reads here: taken out again, the command is told.
        await http.delete(f"/v1/vector_stores/{id_}/files/{found[0]['id']}")
        result = await reading
    assert (result.returncode, result.stdout) == (1, f"0 of 1 document(s) added to {id_}\n")
    assert "no vector store file with id" in result.stderr
    await naru.say("store", "delete", id_)
    await http.delete(f"/v1/files/{found[0]['id']}")


async def test_a_store_of_no_days_is_refused(naru: Naru) -> None:
    told = await naru.refuse("store", "create", "x", "--expires-after-days", "0")
    assert "expires_after.days" in told


async def test_a_store_is_read_again_and_that_is_given_up(
    naru: Naru, http: httpx.AsyncClient
) -> None:
    id_ = await naru.say("store", "create", "again")
    sizes = ("--chunk-tokens", "200", "--overlap", "20")
    line = await naru.say("store", "reindex", "again", *sizes, "--no-wait")
    assert line == "in_progress  all-MiniLM-L6-v2  0 of 0 documents"
    found = (await http.get(f"/v1/vector_stores/{id_}")).json()["reindex"]
    assert found["chunking_strategy"]["static"] == {
        "max_chunk_size_tokens": 200,
        "chunk_overlap_tokens": 20,
    }
    assert "is being read again already" in await naru.refuse("store", "reindex", id_)
    assert await naru.say("store", "reindex", id_, "--cancel") == ""
    assert "reindex" not in (await http.get(f"/v1/vector_stores/{id_}")).json()
    assert "no embedding model 'bge'" in await naru.refuse("store", "reindex", id_, "--model=bge")
    assert "--chunk-tokens" in await naru.refuse("store", "reindex", id_, "--overlap", "9")
    await naru.say("store", "delete", id_)


@pytest.mark.parametrize(("ends", "status"), [("completed", 0), ("failed", 1)])
async def test_reading_a_store_again_is_waited_for(
    naru: Naru, service: Service, http: httpx.AsyncClient, ends: str, status: int
) -> None:
    id_ = await naru.say("store", "create", "waited for")
    reading = asyncio.create_task(naru.run("store", "reindex", id_))
    async with asyncio.timeout(60):
        while "reindex" not in (await http.get(f"/v1/vector_stores/{id_}")).json():
            await asyncio.sleep(0.05)
    model = "all-MiniLM-L6-v2" if ends == "completed" else "another"
    embedder = InMemoryEmbedder(model=model)
    async with await open_pool(service.database, size=4) as pool, job_worker(pool, embedder):
        result = await reading
    assert (result.returncode, result.stdout.split()[0]) == (status, ends), result.stderr
    await naru.say("store", "delete", id_)
