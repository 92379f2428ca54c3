"""A store of `acme`, a folder it may read, and a server with buckets."""

from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from bucket_support import BucketServer, play_bucket_server
from sync_support import Folder, Kept

from config.sync import SyncSettings


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    root = tmp_path / "handbooks"
    root.mkdir()
    return Folder(root)


@pytest.fixture
def kept(pool: asyncpg.Pool, store: str, folder: Folder) -> Kept:
    places = {"handbooks": {"path": str(folder.root), "tenants": ["acme"]}}
    return Kept(pool, store, SyncSettings.model_validate({"folders": places}))


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[BucketServer]:
    with play_bucket_server() as playing:
        yield playing
