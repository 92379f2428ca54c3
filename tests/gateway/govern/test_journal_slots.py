from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.govern.journal_slots import ROOM, SLOT_BYTES, Left, Slots, read_slots
from gateway.openai.usage import TokenUsage


def left_in(path: Path) -> list[Left]:
    """What another process would find, if this one were killed now."""
    return list(read_slots(path.read_bytes()))


def test_what_is_written_is_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "slots"
    slots = Slots.in_file(path, 4)
    first, second = slots.take(), slots.take()
    assert first is not None
    assert second is not None
    slots.write(first, b"asked")
    slots.write(second, b"other")
    assert {left.text for left in left_in(path)} == {b"asked", b"other"}
    slots.count(first, TokenUsage(3, 4, 2, estimated=True))
    assert Left(b"asked", ended=False, counted=TokenUsage(3, 4, 2, True)) in left_in(path)
    slots.write(first, b"asked another")
    assert Left(b"asked another", ended=False, counted=TokenUsage()) in left_in(path)
    slots.write(first, b"ended", ended=True)
    assert Left(b"ended", ended=True, counted=TokenUsage()) in left_in(path)
    slots.release(first)
    assert [left.text for left in left_in(path)] == [b"other"]
    slots.close()


def test_there_are_as_many_as_there_are() -> None:
    slots = Slots.in_memory(4)
    taken = [slots.take() for _ in range(5)]
    assert sorted(taken[:4]) == [0, 1, 2, 3]  # type: ignore[type-var]
    assert taken[4] is None
    assert slots.crowded
    slots.release(2)
    assert slots.take() == 2


@given(st.binary(min_size=1, max_size=ROOM), st.binary(min_size=1, max_size=ROOM), st.data())
def test_a_half_that_does_not_count_may_hold_anything(
    old: bytes, new: bytes, data: st.DataObject
) -> None:
    """A process that is killed while it writes leaves the text of before."""
    slots = Slots.in_memory(1)
    assert slots.take() == 0
    slots.write(0, old)
    before = slots._memory[:]
    slots.write(0, new)
    after = slots._memory[:]
    cut = data.draw(st.integers(1, SLOT_BYTES))
    # Everything but the byte that counts, as far as it came.
    torn = before[:1] + after[1:cut] + before[cut:]
    assert [left.text for left in read_slots(torn)] == [old]
    assert [left.text for left in read_slots(after)] == [new]


@given(st.integers(0, 255), st.binary(max_size=100), st.binary(max_size=100))
def test_any_bytes_are_read_without_a_fault(state: int, first: bytes, second: bytes) -> None:
    half = (SLOT_BYTES - 8) // 2
    table = bytes([state]) + bytes(7) + first.ljust(half, b"\1") + second.ljust(half, b"\2")
    assert all(len(left.text) <= ROOM for left in read_slots(table + table[:50]))


def test_a_full_disk_is_told_at_the_beginning(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"space|large"):
        Slots.in_file(tmp_path / "slots", 2**40)
