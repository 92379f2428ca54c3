"""A document that hurts its reader hurts nobody else."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from knowledge import HOW, pdf_of

from rag.errors import UnreadableDocument
from rag.parse.apart import Parser, open_parser
from rag.types import Chunk


@pytest.fixture
async def parser() -> AsyncIterator[Parser]:
    async with open_parser() as opened:
        yield opened


async def test_chunks_come_back_whole(parser: Parser) -> None:
    data = pdf_of(["연차 휴가는 15일이다."], ["병가는 60일이다."])
    reading = await parser.read("a.pdf", data, **HOW, timeout_s=30)
    assert [(c.ordinal, c.page, c.content) for c in reading.chunks] == [
        (0, 1, "연차 휴가는 15일이다."),
        (1, 2, "병가는 60일이다."),
    ]
    assert reading.texts == [
        "a.pdf\n연차 휴가는 15일이다.",
        "a.pdf\n연차 휴가는 15일이다.\n병가는 60일이다.",
    ]


async def test_the_reason_comes_back(parser: Parser) -> None:
    with pytest.raises(UnreadableDocument, match="supported are PDF") as caught:
        await parser.read("a.bin", b"\0\1\2\3", **HOW, timeout_s=30)
    assert caught.value.code == "unsupported_file"


async def test_many_at_once(parser: Parser) -> None:
    reading = [parser.read("a.txt", f"text {n}".encode(), **HOW, timeout_s=30) for n in range(30)]
    found = await asyncio.gather(*reading)
    assert [reading.chunks[0].content for reading in found] == [f"text {n}" for n in range(30)]


async def test_a_first_reading_given_up_while_the_process_starts_hurts_no_other(
    parser: Parser,
) -> None:
    first = asyncio.create_task(parser.read("a.txt", b"a", **HOW, timeout_s=30))
    while not parser._starting.locked():
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)  # its interpreter takes longer to load
    first.cancel()
    (chunk,) = (await parser.read("b.txt", b"b", **HOW, timeout_s=30)).chunks
    assert chunk.content == "b"
    assert first.cancelled()


async def test_the_time_limit(parser: Parser) -> None:
    await parser.read("a.txt", b"warm", **HOW, timeout_s=30)
    with pytest.raises(UnreadableDocument, match=r"longer than 0\.0001 s"):
        await parser.read("a.txt", b"slow", **HOW, timeout_s=0.0001)


LONG = b"<div>" * 3_000_000
"""HTML that takes longer to read than any of these tests."""


async def test_a_reading_that_is_given_up_leaves_no_process(parser: Parser) -> None:
    reading = await begin(parser, LONG)
    reading.cancel()
    await until_at_work(parser, 0)


async def test_a_child_that_is_killed_fails_its_document_alone(parser: Parser) -> None:
    reading = await begin(parser, LONG)
    os.kill(_children(parser)[0], signal.SIGKILL)
    with pytest.raises(UnreadableDocument, match="damaged"):
        await reading
    assert await parser.read("a.txt", b"next", **HOW, timeout_s=30)


async def test_the_process_that_forks_is_started_again(parser: Parser) -> None:
    await parser.read("a.txt", b"first", **HOW, timeout_s=30)
    os.kill(parser._server.pid, signal.SIGKILL)
    await parser._server.wait()
    assert await parser.read("a.txt", b"second", **HOW, timeout_s=30)


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "rag.parse", tmp_path / "socket"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with server:
        assert server.stdout.readline() == b"ready\n"
        server.stdin.close()
        assert server.wait(30) == 0


def test_the_child_may_not_take_all_memory() -> None:
    code = "import rag.parse.__main__ as child; child._limit(30); bytes(3 << 30)"
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert "MemoryError" in result.stderr


async def test_the_child_does_not_see_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parser: Parser
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    shown, script = tmp_path / "environment", tmp_path / "python"
    script.write_text(f"#!/bin/sh\nenv > {shown}\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(OSError, match="does not start"):
        await parser.read("a.txt", b"text", **HOW, timeout_s=30)
    assert "PATH" in shown.read_text()
    assert "sk-test" not in shown.read_text()


async def begin(parser: Parser, markup: bytes) -> "asyncio.Task[list[Chunk]]":
    """Begin to read it, and return when its child is at work and no other."""
    await parser.read("a.txt", b"warm", **HOW, timeout_s=30)
    await until_at_work(parser, 0)
    reading = asyncio.create_task(parser.read("a.html", markup, **HOW, timeout_s=60))
    await until_at_work(parser, 1)
    return reading


async def until_at_work(parser: Parser, count: int) -> None:
    async with asyncio.timeout(30):
        while len(_children(parser)) != count:
            await asyncio.sleep(0.01)


def _children(parser: Parser) -> list[int]:
    """Those that are at work; one that has ended waits to be counted."""
    pid = parser._server.pid
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(n) for n in found if ") Z " not in Path(f"/proc/{n}/stat").read_text()]
