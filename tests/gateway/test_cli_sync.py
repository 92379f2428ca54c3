"""`naru sync` against a running service, whose job worker reads the sources."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from gateway_support import Service

from config.postgres import open_pool
from config.settings import EmbeddingSettings, RetrievalSettings
from config.sync import SyncSettings
from rag import open_embedders
from rag.jobs import Jobs
from rag.sync import Limits, Syncer
from rag.worker import run_jobs


@pytest.fixture
async def store(http: httpx.AsyncClient) -> AsyncIterator[str]:
    made = (await http.post("/v1/vector_stores", json={"name": "synced"})).json()["id"]
    yield made
    await http.delete(f"/v1/vector_stores/{made}")


@pytest.fixture
async def handbooks(service: Service, sockets: Path, tmp_path: Path) -> AsyncIterator[Path]:
    """A folder that the job worker calls `handbooks`, and the job worker."""
    folder = tmp_path / "handbooks"
    folder.mkdir()
    place = {"path": str(folder), "tenants": ["acme"]}
    limits = Limits(SyncSettings.model_validate({"folders": {"handbooks": place}}), 10)
    jobs, stop = Jobs(), asyncio.Event()
    embedders = open_embedders(EmbeddingSettings(), sockets)
    async with await open_pool(service.database, size=8, role="naru_jobs") as pool:
        Syncer(pool, limits).register(jobs)
        working = run_jobs(pool, embedders, RetrievalSettings(), stop, jobs)
        running = asyncio.create_task(working)
        yield folder
        stop.set()
        await running
    await embedders.close()


async def naru(
    service: Service, folder: Path, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NARU")}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-P", "-m", "gateway", "sync", *arguments],
        cwd=folder,
        env={**clean, "NARU_URL": service.url, "NARU_API_KEY": service.key},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_a_folder_is_added_read_listed_and_removed(
    service: Service, http: httpx.AsyncClient, store: str, handbooks: Path, tmp_path: Path
) -> None:
    (handbooks / "a.md").write_text("15 days")
    (handbooks / "b.md").write_text("far too many days")
    added = await naru(service, tmp_path, "add", "--folder", "handbooks", "--store", store)
    assert added.returncode == 0, added.stderr
    source = added.stdout.strip()
    assert source.startswith("src_")

    read = await naru(service, tmp_path, "run", source, "--store", store)
    assert read.returncode == 1
    assert "completed: 1 added, 1 failed" in read.stdout
    assert read.stderr == "b.md: over the limit of 10 bytes\n"

    (handbooks / "b.md").unlink()
    read = await naru(service, tmp_path, "run", source, "--store", store)
    assert (read.returncode, read.stderr) == (0, "")
    listed = await naru(service, tmp_path, "list", "--store", store)
    assert listed.stdout == read.stdout
    assert "folder  handbooks  by hand  completed: 1 unchanged" in listed.stdout

    removed = await naru(service, tmp_path, "remove", source, "--store", store, "--with-files")
    assert removed.returncode == 0, removed.stderr
    assert (await naru(service, tmp_path, "list", "--store", store)).stdout == ""
    assert (await http.get(f"/v1/vector_stores/{store}/files")).json()["data"] == []


async def test_what_came_and_could_not_be_read_is_told(
    service: Service, store: str, handbooks: Path, tmp_path: Path
) -> None:
    (handbooks / "a.md").write_text("15 days")
    (handbooks / "b.pdf").write_text("%PDF-1.7")
    other = handbooks / "other"
    other.mkdir()
    (other / "c.pdf").write_text("%PDF-1.4")
    command = ("add", "--store", store, "--folder")
    sources = [
        (await naru(service, tmp_path, *command, place)).stdout.strip()
        for place in ("handbooks", "handbooks/other")
    ]
    whole, part = [
        await naru(service, tmp_path, "run", source, "--store", store) for source in sources
    ]
    assert (whole.returncode, part.returncode) == (1, 1)
    assert "completed: 3 added" in whole.stdout
    assert [line.split(":")[0] for line in whole.stderr.splitlines()] == ["b.pdf", "other/c.pdf"]
    assert [line.split(":")[0] for line in part.stderr.splitlines()] == ["c.pdf"]
    (handbooks / "b.pdf").unlink()
    (other / "c.pdf").unlink()
    again = await naru(service, tmp_path, "run", sources[0], "--store", store)
    assert (again.returncode, again.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["add"], "name one of --folder"),
        (["add", "--folder", "a", "--bucket", "b"], "name one of --folder"),
        (["add", "--bucket", "b/c"], "no bucket 'b' is open to this tenant"),
        (["add", "--url", "https://a.example/"], "a.example is not a listed host"),
        (["run", "src_0"], "no source with id 'src_0': --store names the vector store to look in"),
        (["remove", "src_0"], "no source with id 'src_0': --store names the vector store"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_what_can_t_be_is_one_line(
    service: Service, store: str, tmp_path: Path, arguments: list[str], fault: str
) -> None:
    refused = await naru(service, tmp_path, *arguments, "--store", store)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("naru: ")
    assert fault in refused.stderr
    assert refused.stderr.count("\n") == 1
