"""A store of `acme`, and a folder it may read."""

from pathlib import Path

import asyncpg
import pytest
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
