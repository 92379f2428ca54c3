"""A folder is read whole, and nothing outside it."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from sync_support import Folder, Kept

from config.sync import SyncSettings
from rag import sync
from rag.errors import SourceRefused
from rag.sync import folder as folder_module
from rag.sync.folder import FolderReader
from rag.sync.reading import NotFetched, Spool

HANDBOOKS = sync.FolderOrigin("handbooks")


def reader_of(root: Path, path: str = "", **settings: Any) -> FolderReader:
    places = {"handbooks": {"path": str(root), "tenants": ["*"]}}
    found = SyncSettings.model_validate({"folders": places} | settings)
    return FolderReader(found, "acme", sync.FolderOrigin("handbooks", path), frozenset())


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that is not in the folder."""
    path = tmp_path / "passwords.md"
    path.write_text("secret")
    return path


async def test_every_file_beneath_is_listed(folder: Folder) -> None:
    for key in ("a.md", "hr/b.md", "hr/2026/휴가.md"):
        folder.put(key, "x")
    listing = await reader_of(folder.root).list()
    assert set(listing.items) == {"a.md", "hr/b.md", "hr/2026/휴가.md"}
    assert (listing.incomplete, listing.skipped) == (None, 0)
    assert set((await reader_of(folder.root, "hr/").list()).items) == {"b.md", "2026/휴가.md"}


async def test_links_pipes_sockets_and_hidden_files_are_skipped_and_counted(
    folder: Folder, outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put("a.md", "x")
    (folder.root / "absolute.md").symlink_to(outside)
    (folder.root / "relative.md").symlink_to("../passwords.md")
    (folder.root / "inside.md").symlink_to("a.md")
    (folder.root / "everything").symlink_to("/")
    (folder.root / "up").symlink_to("..")
    (folder.root / ".hidden").mkdir()
    os.mkfifo(folder.root / "pipe.md")
    monkeypatch.chdir(folder.root)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.md")
        listing = await reader_of(folder.root).list()
    assert set(listing.items) == {"a.md"}
    assert (listing.incomplete, listing.skipped) == (None, 8)


async def test_names_that_cant_be_kept_are_skipped_and_counted(folder: Folder) -> None:
    deep = folder.root
    for _ in range(5):
        deep = deep / ("d" * 250)
        deep.mkdir()
    (deep / "a.md").write_text("x")
    folder.put(os.fsdecode(b"\xff.md"), "x")
    listing = await reader_of(folder.root).list()
    assert (listing.items, listing.skipped, listing.incomplete) == ({}, 2, None)


@pytest.mark.parametrize("part", ["file", "folder"])
async def test_what_became_a_link_after_it_was_listed_is_not_followed(
    folder: Folder, outside: Path, part: str
) -> None:
    folder.put("hr/passwords.md", "x")
    reader = reader_of(folder.root)
    (item,) = (await reader.list()).items.values()
    folder.take("hr/passwords.md")
    if part == "file":
        (folder.root / "hr/passwords.md").symlink_to(outside)
    else:
        (folder.root / "hr").rmdir()
        (folder.root / "hr").symlink_to(outside.parent)
    with Spool(100) as spool, pytest.raises(NotFetched):
        await reader.fetch(item, "", spool)
    assert spool.size == 0
    assert await reader.is_gone(item.key)


async def test_a_file_that_became_a_pipe_is_not_waited_for(folder: Folder) -> None:
    folder.put("a.md", "x")
    reader = reader_of(folder.root)
    (item,) = (await reader.list()).items.values()
    folder.take("a.md")
    os.mkfifo(folder.root / "a.md")
    with Spool(100) as spool, pytest.raises(NotFetched, match="no regular file"):
        await reader.fetch(item, "", spool)


async def test_a_file_that_grows_while_it_is_read_is_left_for_the_next_time(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put("a.md", "fifteen", age=1)
    reader = reader_of(folder.root)
    (item,) = (await reader.list()).items.values()
    write = Spool.write

    def grow(self: Spool, piece: bytes) -> None:
        write(self, piece)
        if self.size < 20:
            with (folder.root / "a.md").open("a") as file:
                file.write(" or sixteen")

    monkeypatch.setattr(Spool, "write", grow)
    with Spool(100) as spool, pytest.raises(NotFetched, match="changed while it was read"):
        await reader.fetch(item, "", spool)


@pytest.mark.parametrize("fault", ["a folder inside", "the folder itself", "no folder"])
async def test_a_folder_that_cant_be_read_removes_nothing(
    kept: Kept, folder: Folder, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    folder.put("a.md", "fifteen", age=1)
    folder.put("b.md", "sixteen", age=1)
    folder.put("hr/c.md", "seventeen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    folder.put("new.md", "eighteen", age=1)
    folder.take("a.md")
    if fault == "no folder":
        folder.root.rename(folder.root.with_name("elsewhere"))
    else:  # tests may run as root, whom no mode keeps out
        refused = folder.root / "hr" if fault == "a folder inside" else folder.root
        scandir = os.scandir

        def scan(fd: int) -> Any:
            if os.path.samestat(os.fstat(fd), refused.stat()):
                raise PermissionError(13, "Permission denied")
            return scandir(fd)

        monkeypatch.setattr(os, "scandir", scan)
    run = await kept.run(source)
    assert (run.complete, run.removed) == (False, 0)
    assert "can't be read: " in str(run.reason)
    there = {"a.md", "b.md", "hr/c.md"}
    if fault == "a folder inside":
        assert (run.status, run.added) == ("completed", 1)
        there.add("new.md")
    else:
        assert run.status == "failed"
    assert set(await kept.contents()) == there


async def test_a_volume_that_is_not_mounted_any_more_removes_nothing(
    kept: Kept, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put("a.md", "fifteen", age=1)
    folder.put("archive/b.md", "sixteen", age=1)
    source = await kept.add(HANDBOOKS)
    volume = (folder.root / "archive").stat().st_ino
    with pytest.MonkeyPatch.context() as patch:
        # As if `archive` were a volume of its own.
        fingerprint = folder_module._device

        def device(status: os.stat_result) -> int:
            return -1 if status.st_ino == volume else fingerprint(status)

        patch.setattr(folder_module, "_device", device)
        assert (await kept.run(source)).complete
    folder.take("archive/b.md")
    run = await kept.run(source)
    assert (run.complete, run.removed) == (False, 0)
    assert run.reason == "`archive` was a volume of its own and is not mounted now"
    assert set(await kept.contents()) == {"a.md", "archive/b.md"}


async def test_a_folder_that_does_not_answer_in_time_removes_nothing(
    kept: Kept, folder: Folder
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    folder.take("a.md")
    folder.put("b.md", "fifteen", age=1)
    run = await kept.but(listing_timeout_s=1e-9).run(source)
    assert (run.status, run.reason) == ("failed", "the folder did not answer in time")
    assert set(await kept.contents()) == {"a.md"}


@pytest.mark.parametrize("path", ["..", "a/../..", "a//b", ".", "a/./b", "a\nb", "x" * 2000])
async def test_a_path_leads_nowhere_but_down(kept: Kept, path: str) -> None:
    with pytest.raises(SourceRefused) as refused:
        await kept.add(sync.FolderOrigin("handbooks", path))
    assert refused.value.param == "path"


@pytest.mark.parametrize("tenants", [["rival"], ["acm"], ["acme2"]])
async def test_a_folder_is_open_to_whom_the_operator_says(
    kept: Kept, folder: Folder, tenants: list[str]
) -> None:
    place = {"path": str(folder.root), "tenants": tenants}
    other = kept.but(folders={"handbooks": place})
    with pytest.raises(SourceRefused) as foreign:
        await other.add(HANDBOOKS)
    with pytest.raises(SourceRefused) as missing:
        await kept.but(folders={}).add(HANDBOOKS)
    assert str(foreign.value) == str(missing.value)
