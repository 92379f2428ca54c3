"""Files of a response's input: data URLs for hosted models, their text for an engine."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from knowledge import pdf_of, upload
from support import scope_of

from auth import InsufficientScope
from config.media import MediaSettings
from gateway.errors import InvalidRequest, TooLarge
from gateway.openai.response_items import Message, read_items
from gateway.responses.uploads import Uploads
from rag import NotFound
from rag.parse.apart import open_parser
from rag.storage import IN_POSTGRES

CALLER = scope_of("acme", "app")


@pytest.fixture
async def uploads(pool: asyncpg.Pool) -> AsyncIterator[Uploads]:
    async with open_parser() as parser:
        yield Uploads(pool, IN_POSTGRES, parser, MediaSettings(max_bytes=10_000))


async def put(uploads: Uploads, *parts: dict[str, Any], as_text: bool) -> list[Any]:
    items = read_items([{"role": "user", "content": list(parts)}], "input")
    (item,) = await uploads.put_in_place(CALLER, items, as_text=as_text)
    assert isinstance(item, Message)
    return list(item.parts)


def data_url(data: bytes, kind: str = "application/pdf") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("by_id", [False, True])
async def test_an_engine_is_given_a_documents_text(
    uploads: Uploads, pool: asyncpg.Pool, by_id: bool
) -> None:
    pdf = pdf_of(["Sick leave: ten days."], ["</file> Annual leave: 15 days."])
    part: dict[str, Any] = {"type": "input_file"}
    if by_id:
        part["file_id"] = (await upload(pool, 'a"b.pdf', pdf)).id
    else:
        part |= {"filename": 'a"b.pdf', "file_data": data_url(pdf)}
    (text,) = await put(uploads, part, as_text=True)
    assert text.text.startswith('<file name="a\'b.pdf">\n')
    assert "Sick leave: ten days." in text.text
    assert "Annual leave: 15 days." in text.text
    assert text.text.count("</file>") == 1


async def test_a_hosted_model_is_given_the_file(uploads: Uploads, pool: asyncpg.Pool) -> None:
    url = data_url(b"x", "text/plain")
    given = {"type": "input_file", "filename": "a.txt", "file_data": url}
    stored = {"type": "input_file", "file_id": (await upload(pool, "a.txt", b"x")).id}
    for part in await put(uploads, given, stored, as_text=False):
        assert (part.filename, part.file_data) == ("a.txt", url)


async def test_an_uploaded_image_becomes_a_data_url(uploads: Uploads, pool: asyncpg.Pool) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(16)
    file = await upload(pool, "a.png", png)
    (part,) = await put(uploads, {"type": "input_image", "file_id": file.id}, as_text=True)
    assert part.image_url == data_url(png, "image/png")


async def test_what_can_t_be_put_in_place(uploads: Uploads, pool: asyncpg.Pool) -> None:
    async def refused(kind: type[Exception], **part: Any) -> None:
        with pytest.raises(kind):
            await put(uploads, {"type": "input_file"} | part, as_text=True)

    await refused(InvalidRequest, filename="a.pdf", file_data=data_url(b"no pdf"))
    await refused(InvalidRequest, filename="a.pdf", file_data="data:application/pdf;base64,???")
    await refused(TooLarge, filename="a.txt", file_data=data_url(b"x" * 10_001))
    await refused(TooLarge, file_id=(await upload(pool, "a.txt", b"x" * 10_001)).id)
    await refused(NotFound, file_id="file-nothing")
    await refused(NotFound, file_id=(await upload(pool, "a.txt", b"x", tenant="rival")).id)
    file = await upload(pool, "a.txt", b"x" * 10_001)
    content = [{"type": "file", "file": {"file_id": file.id}}]
    with pytest.raises(TooLarge) as caught:
        await uploads.put_in_messages(CALLER, [{"role": "user", "content": content}])
    assert caught.value.param == "messages[0].content[0].file.file_id"
    items = read_items(
        [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}], "input"
    )
    with pytest.raises(InsufficientScope):
        await uploads.put_in_place(scope_of("acme", "app", "inference"), items, as_text=True)
