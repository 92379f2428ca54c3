import shutil
from pathlib import Path

import pytest

from gateway.govern.journal import find_legacy, open_journal


def test_a_folder_is_its_process_s_alone(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "made" / "here", slots=16, max_bytes=1_000_000)
    root = journal.folder.parent
    assert find_legacy(root) is None
    journal.close()
    assert list(root.iterdir()) == []


def test_what_is_left_is_found_once(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, slots=16, max_bytes=1_000_000)
    slot = journal.slots.take()
    assert slot is not None
    journal.slots.write(slot, b"asked")
    journal.segments.append([b"waits"])
    journal.close()
    legacy = find_legacy(tmp_path)
    assert legacy
    assert [left.text for left in legacy.left] == [b"asked"]
    assert (legacy.segments.oldest() or (None, []))[1] == [b"waits"]
    assert find_legacy(tmp_path) is None, "somebody has it"
    legacy.release()
    again = find_legacy(tmp_path)
    assert again
    again.remove()
    assert find_legacy(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "refused.ndjson").touch()
    assert find_legacy(tmp_path) is None
    assert find_legacy(tmp_path / "nowhere") is None
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_without_room_is_none(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"space|large"):
        open_journal(tmp_path, slots=2**40, max_bytes=1_000_000)
    assert list(tmp_path.iterdir()) == []
    shutil.rmtree(tmp_path)
