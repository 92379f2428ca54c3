"""Files made to hurt whoever opens them: each is read, or its owner is told why not."""

import io
import re
import tracemalloc
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from documents import (
    docx_of,
    entry_of,
    hwpx_of,
    hwpx_paragraph,
    pptx_of,
    with_entries,
    xlsx_of,
    zip_of,
)
from knowledge import HOW, pdf_of

from rag.errors import UnreadableDocument
from rag.parse.apart import Parser, open_parser
from rag.parse.document import parse

_BODY = "word/document.xml"
_SHEET = "xl/worksheets/sheet1.xml"
_SECTION = "Contents/section0.xml"
_MIB = 1 << 20
_LIMITS = {**HOW, "timeout_s": 60.0}


@pytest.fixture(scope="module")
async def parser() -> AsyncIterator[Parser]:
    async with open_parser() as opened:
        yield opened


def reason(data: bytes, name: str = "a.docx") -> str:
    with pytest.raises(UnreadableDocument) as caught:
        parse(name, data)
    return caught.value.reason


def with_directory_size(data: bytes, name: str, size: int) -> bytes:
    """An archive whose directory says this size of an entry, whatever there is."""
    changed = bytearray(data)
    place = changed.rindex(b"PK\x01\x02", 0, changed.rindex(name.encode()))
    changed[place + 24 : place + 28] = size.to_bytes(4, "little")
    return bytes(changed)


@pytest.mark.parametrize("name", [_BODY, "word/media/image1.png", "word/embeddings/a.docx"])
def test_a_zip_bomb_is_seen_in_the_directory(name: str) -> None:
    bomb = with_entries(docx_of("text"), {name: bytes(64 * _MIB)})
    assert len(bomb) < _MIB
    tracemalloc.start()
    assert "unpacks to far more" in reason(bomb)
    assert tracemalloc.get_traced_memory()[1] < 4 * _MIB
    tracemalloc.stop()


def test_a_bomb_whose_directory_lies_is_not_unpacked() -> None:
    bomb = with_entries(docx_of("text"), {_BODY: bytes(64 * _MIB)})
    bomb = with_directory_size(bomb, _BODY, 1000)
    tracemalloc.start()
    assert "is damaged" in reason(bomb)
    assert tracemalloc.get_traced_memory()[1] < 8 * _MIB
    tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packing_that_has_no_bound_is_refused(method: int) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr(_SECTION, "<sec/>")
    assert "packed in a way" in reason(target.getvalue())


def test_an_archive_inside_stays_shut() -> None:
    inner = zip_of({"bomb": bytes(8 * _MIB)})
    for _ in range(5):
        inner = zip_of({f"{number}.zip": inner for number in range(10)})
    data = with_entries(docx_of("text"), {"word/embeddings/a.zip": inner})
    assert [page.text for page in parse("a.docx", data)] == ["text"]


def test_too_many_entries_are_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number in range(20_001):
            archive.writestr(f"{number}.xml", "")
    assert "more than 20000 parts" in reason(target.getvalue())


@pytest.mark.parametrize("name", ["../x.xml", "/x.xml", "word/../../x.xml", "..\\x.xml"])
def test_names_that_lead_outside_lead_nowhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    data = with_entries(docx_of("text"), {name: "<x/>"})
    assert [page.text for page in parse("a.docx", data)] == ["text"]
    assert list(tmp_path.iterdir()) == [inside]
    assert not list(inside.iterdir())


_ENTITIES = "".join(
    f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "ha" * 100}">' for n in range(10)
)
_QUADRATIC = f'<!ENTITY a9 "{"a" * 50_000}">'
_OUTSIDE = '<!ENTITY a9 SYSTEM "file:///etc/passwd">'


@pytest.mark.parametrize("declared", [_ENTITIES, _QUADRATIC, _OUTSIDE])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    ("data", "part"),
    [
        (docx_of("text"), _BODY),
        (docx_of("text"), "word/styles.xml"),
        (docx_of("text"), "[Content_Types].xml"),
        (pptx_of(("text", "")), "ppt/slides/slide1.xml"),
        (xlsx_of(a=[["text"]]), _SHEET),
        (xlsx_of(a=[["text"]]), "xl/workbook.xml"),
        (hwpx_of(hwpx_paragraph("text")), _SECTION),
    ],
)
def test_entities_are_refused(data: bytes, part: str, encoding: str, declared: str) -> None:
    content = entry_of(data, part).partition("?>\n")[2] or entry_of(data, part)
    content = content.replace(">text<", f">{'&a9;' * 1000}<")
    poisoned = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [{declared}]>{content}'
    assert "document type" in reason(with_entries(data, {part: poisoned.encode(encoding)}))


def stored(data: bytes, entries: Mapping[str, str]) -> bytes:
    """An archive with these entries, not packed: no ratio gives them away."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        own = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {**own, **entries}.items():
            archive.writestr(name, content)
    return target.getvalue()


def docx_body(content: str) -> bytes:
    body = entry_of(docx_of("text"), _BODY)
    return stored(docx_of("text"), {_BODY: body.replace("<w:sectPr", content + "<w:sectPr", 1)})


@pytest.mark.parametrize("body", ["<w:p/>" * 6_000_000, '<w:p w:a="1" w:b="2"/>' * 3_100_000])
def test_more_xml_than_a_tree_may_have_is_refused(body: str) -> None:
    assert "far larger than a document" in reason(docx_body(body))


async def test_a_million_nodes_are_read(parser: Parser) -> None:
    (chunk,) = (await parser.read("a.docx", docx_body("<w:p/>" * 1_000_000), **_LIMITS)).chunks
    assert chunk.content == "text"


def xlsx_with(rows: str, *, strings: str = "") -> bytes:
    """A workbook of these rows, said to be as many as there may be."""
    namespace = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    data = xlsx_of(a=[["text"]])
    types = "[Content_Types].xml"
    shared = (
        '<Override PartName="/xl/sharedStrings.xml" ContentType="application/vnd.openxmlformats'
        '-officedocument.spreadsheetml.sharedStrings+xml"/></Types>'
    )
    declared = '<dimension ref="A1:XFD1048576"/>'
    sheet = f"<worksheet {namespace}>{declared}<sheetData>{rows}</sheetData></worksheet>"
    return stored(
        data,
        {
            types: entry_of(data, types).replace("</Types>", shared),
            _SHEET: sheet,
            "xl/sharedStrings.xml": f"<sst {namespace}>{strings}</sst>",
        },
    )


async def test_rows_that_are_only_declared_are_not_there(parser: Parser) -> None:
    cell = '<c r="A1" t="inlineStr"><is><t>first</t></is></c>'
    far = '<c r="XFD1048576" t="inlineStr"><is><t>last</t></is></c>'
    data = xlsx_with(f'<row r="1">{cell}</row><row r="1048576">{far}</row>')
    (chunk,) = (await parser.read("a.xlsx", data, **_LIMITS)).chunks
    assert chunk.content.split() == ["#", "a", "first", "last"]


async def test_a_long_string_in_many_cells(parser: Parser) -> None:
    cells = '<row><c t="s"><v>0</v></c></row>' * 50_000
    data = xlsx_with(cells, strings=f"<si><t>{'text ' * 1_000_000}</t></si>")
    with pytest.raises(UnreadableDocument, match="more text than can be read"):
        await parser.read("a.xlsx", data, **_LIMITS)


@pytest.mark.parametrize(
    "make",
    [
        lambda: docx_body("<w:sdt>" * 200_000 + "</w:sdt>" * 200_000),
        lambda: xlsx_with("<row>" * 200_000 + "</row>" * 200_000),
        lambda: hwpx_of("<hp:p>" * 200_000 + "</hp:p>" * 200_000),
    ],
    ids=["docx", "xlsx", "hwpx"],
)
async def test_xml_nested_deeper_than_any_stack(parser: Parser, make: Callable[[], bytes]) -> None:
    with pytest.raises(UnreadableDocument, match=r"damaged|holds no text"):
        await parser.read("a", make(), **_LIMITS)


async def test_a_pdf_of_ten_thousand_pages_is_read(parser: Parser) -> None:
    data = pdf_of(*([f"page {number} of a long report"] for number in range(1, 10_001)))
    chunks = (await parser.read("a.pdf", data, **_LIMITS)).chunks
    assert [chunk.page for chunk in chunks] == list(range(1, 10_001))


@pytest.mark.parametrize(
    ("true", "false"),
    [(b"/Count 1", b"/Count 2000000000"), (b"/Kids [8 0 R]", b"/Kids [8 0 R 2 0 R]")],
)
async def test_a_pdf_whose_tree_of_pages_lies(parser: Parser, true: bytes, false: bytes) -> None:
    data = pdf_of(["text"])
    assert true in data
    (chunk,) = (await parser.read("a.pdf", data.replace(true, false), **_LIMITS)).chunks
    assert (chunk.page, chunk.content) == (1, "text")


async def test_a_bomb_in_a_page_of_a_pdf(parser: Parser) -> None:
    operators = zlib.compress(b"BT /F1 10 Tf " + b"(words words) Tj T* " * 5_000_000 + b" ET")
    page = b"<< /Length %d /Filter /FlateDecode >> stream\n%b\nendstream" % (
        len(operators),
        operators,
    )
    data = re.sub(
        rb"<< /Length \d+ >> stream\nBT[^\n]*\nendstream", lambda _: page, pdf_of(["text"])
    )
    assert page in data
    with pytest.raises(UnreadableDocument, match=r"damaged|too much memory|longer than"):
        await parser.read("a.pdf", data, **HOW, timeout_s=4)


@pytest.mark.parametrize("opening", ["<b>", "<table><tr><td>"])
async def test_html_nested_deeper_than_any_stack(parser: Parser, opening: str) -> None:
    markup = (opening * 100_000 + "deep").encode()
    (chunk,) = (await parser.read("a.html", markup, **_LIMITS)).chunks
    assert chunk.content == "deep"


async def test_html_nested_so_that_reading_takes_the_square_of_its_size(parser: Parser) -> None:
    with pytest.raises(UnreadableDocument, match="longer than 3 s"):
        await parser.read("a.html", b"<div>" * 200_000 + b"deep", **HOW, timeout_s=3)


async def test_json_nested_a_million_times(parser: Parser) -> None:
    with pytest.raises(UnreadableDocument, match="nested too deeply"):
        await parser.read("a.json", b'{"a":[' * 1_000_000, **_LIMITS)
