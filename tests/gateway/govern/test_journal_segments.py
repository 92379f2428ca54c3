import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.govern import journal_segments
from gateway.govern.journal_segments import Segments, frame, parse_frames

TEXTS = st.lists(st.binary(min_size=1, max_size=50), max_size=8)


@given(TEXTS)
def test_frames_are_read_as_they_were_written(texts: list[bytes]) -> None:
    data = b"".join(map(frame, texts))
    assert parse_frames(data) == (texts, len(data))


@given(TEXTS, st.data())
def test_a_cut_takes_the_last_text_and_no_other(texts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(frame, texts))
    cut = data.draw(st.integers(0, len(whole)))
    read, end = parse_frames(whole[:cut])
    assert read == texts[: len(read)]
    assert end <= cut
    assert len(read) == len(texts) or cut - end < len(frame(texts[len(read)]))


@given(TEXTS.filter(bool), st.data())
def test_a_flipped_bit_never_makes_another_text(texts: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(map(frame, texts)))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    read, _ = parse_frames(bytes(whole))
    assert read == texts[: len(read)]
    assert len(read) < len(texts)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_a_fault(data: bytes) -> None:
    texts, end = parse_frames(data)
    assert end == len(b"".join(map(frame, texts)))


def test_a_tail_of_zeros_is_no_record() -> None:
    assert parse_frames(frame(b"a") + bytes(100)) == ([b"a"], 9)


def test_segments_are_shipped_in_their_order_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_segments, "_SEALED_BYTES", 30)
    segments = Segments(tmp_path, 1_000_000)
    assert segments.oldest() is None
    for text in (b"one", b"two", b"three", b"four"):
        segments.append([text, text])
    assert bool(segments)
    found = Segments(tmp_path, 0)
    read = []
    while oldest := found.oldest():
        read += oldest[1]
        found.remove(oldest[0])
    assert read == [b"one", b"one", b"two", b"two", b"three", b"three", b"four", b"four"]
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_added_to_what_is_being_shipped(tmp_path: Path) -> None:
    segments = Segments(tmp_path, 1_000_000)
    segments.append([b"a"])
    path, texts = segments.oldest() or (None, [])
    segments.append([b"b"])
    assert texts == [b"a"]
    assert path
    segments.remove(path)
    assert (segments.oldest() or (None, []))[1] == [b"b"]


def test_what_lies_behind_a_fault_is_kept_for_a_look(tmp_path: Path) -> None:
    segments = Segments(tmp_path, 1_000_000)
    segments.append([b"a"])
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b"torn")
    assert segments.oldest() == (path, [b"a"])
    assert path.with_suffix(".torn").read_bytes() == b"torn"


def test_a_bound_is_a_full_disk(tmp_path: Path) -> None:
    segments = Segments(tmp_path, 30)
    segments.append([b"x" * 20])
    with pytest.raises(OSError, match="long") as raised:
        segments.append([b"y"])
    assert raised.value.errno == errno.ENOSPC


@contextmanager
def longest_file(size: int) -> Iterator[None]:
    """A disk that takes no file of more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    segments = Segments(tmp_path, 1_000_000)
    segments.append([b"first"])
    with longest_file(100), pytest.raises(OSError, match="large"):
        segments.append([b"x" * 50, b"y" * 50])
    segments.append([b"after"])
    assert (segments.oldest() or (None, []))[1] == [b"first", b"after"]
