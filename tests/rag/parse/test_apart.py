"""A document that hurts its reader hurts nobody else."""

import os
import subprocess
import sys

import pytest
from knowledge import pdf_of

from rag.errors import UnreadableDocument
from rag.parse.apart import read_document


async def test_chunks_come_back_whole() -> None:
    data = pdf_of(["연차 휴가는 15일이다."], ["병가는 60일이다."])
    chunks = await read_document("a.pdf", data, chunk_chars=800, timeout_s=30)
    assert [(c.ordinal, c.page, c.content) for c in chunks] == [
        (0, 1, "연차 휴가는 15일이다."),
        (1, 2, "병가는 60일이다."),
    ]


async def test_the_reason_comes_back() -> None:
    with pytest.raises(UnreadableDocument, match="supported are PDF") as caught:
        await read_document("a.bin", b"\0\1\2\3", chunk_chars=800, timeout_s=30)
    assert caught.value.code == "unsupported_file"


async def test_the_time_limit() -> None:
    with pytest.raises(UnreadableDocument, match=r"longer than 0\.01 s"):
        await read_document("a.txt", b"slow", chunk_chars=800, timeout_s=0.01)


async def test_a_crash_of_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UnreadableDocument, match="damaged"):
        await read_document("a.txt", b"text", chunk_chars=800, timeout_s=30)


def test_the_child_may_not_take_all_memory() -> None:
    code = "import rag.parse.__main__ as child; child._limit(30); bytes(3 << 30)"
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert "MemoryError" in result.stderr


async def test_the_child_does_not_see_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    shown = os.path.join(tmp_path, "environment")  # noqa: PTH118
    script = os.path.join(tmp_path, "python")  # noqa: PTH118
    with open(script, "w") as file:  # noqa: PTH123, ASYNC230
        file.write(f"#!/bin/sh\nenv > {shown}\nexit 1\n")
    os.chmod(script, 0o755)  # noqa: PTH101
    monkeypatch.setattr(sys, "executable", script)
    with pytest.raises(UnreadableDocument):
        await read_document("a.txt", b"text", chunk_chars=800, timeout_s=30)
    with open(shown) as file:  # noqa: PTH123, ASYNC230
        assert "sk-test" not in file.read()
