"""Which office document it is, its content says; those that can't be read are told why."""

import io
import zipfile

import pytest
from documents import (
    docx_of,
    docx_of_a_picture,
    entry_of,
    hwpx_of,
    hwpx_paragraph,
    pptx_of,
    pptx_of_a_picture,
    with_entries,
    xlsx_of,
    zip_of,
)
from knowledge import HOW, pdf_of

from rag.errors import UnreadableDocument
from rag.parse import SUFFIXES
from rag.parse.apart import open_parser
from rag.parse.document import parse

_TYPES = "[Content_Types].xml"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
_EVERY_KIND = {
    ".docx": docx_of("found"),
    ".pptx": pptx_of(("found", "")),
    ".xlsx": xlsx_of(found=[["found"]]),
    ".hwpx": hwpx_of(hwpx_paragraph("found")),
    ".pdf": pdf_of(["found"]),
}


@pytest.mark.parametrize("kind", _EVERY_KIND)
@pytest.mark.parametrize("suffix", [*sorted(SUFFIXES), ".doc", ".hwp", ""])
def test_a_wrong_name_does_not_matter(kind: str, suffix: str) -> None:
    (page,) = parse(f"a{suffix}", _EVERY_KIND[kind])
    assert "found" in page.text


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        ("WordDocument", "save it as DOCX"),
        ("PowerPoint Document", "save it as PPTX"),
        ("Workbook", "save it as XLSX"),
        ("BodyText", "save it as HWPX"),
        ("EncryptedPackage", "protected by a password"),
        ("Other", "old program"),
    ],
)
def test_files_of_old_programs_and_locked_ones(stream: str, reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=reason) as caught:
        parse("a.docx", _OLE + stream.encode("utf-16-le"))
    assert caught.value.code == "unsupported_file"


def test_the_oldest_hangul_files() -> None:
    with pytest.raises(UnreadableDocument, match="save it as HWPX"):
        parse("a.hwp", b"HWP Document File V3.00 \x1a\x01\x02\x03")


@pytest.mark.parametrize("data", [docx_of_a_picture(), pptx_of_a_picture()])
def test_a_file_of_pictures_is_told_so(data: bytes) -> None:
    with pytest.raises(UnreadableDocument, match="holds only pictures") as caught:
        parse("a.docx", data)
    assert caught.value.code == "unsupported_file"


@pytest.mark.parametrize("data", [docx_of(), pptx_of(("", "")), xlsx_of(a=[]), hwpx_of("")])
def test_a_file_without_text_is_told_so(data: bytes) -> None:
    with pytest.raises(UnreadableDocument, match="holds no text"):
        parse("a.docx", data)


def test_another_archive_is_refused() -> None:
    with pytest.raises(UnreadableDocument, match="no DOCX, PPTX, XLSX or HWPX"):
        parse("a.zip", zip_of({"a.txt": "text"}))


def test_a_strict_document_is_told_what_to_do() -> None:
    data = docx_of("text")
    relations = entry_of(data, "_rels/.rels").replace(
        "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
        "http://purl.oclc.org/ooxml/officeDocument/relationships",
    )
    with pytest.raises(UnreadableDocument, match="not Strict"):
        parse("a.docx", with_entries(data, {"_rels/.rels": relations}))


@pytest.mark.parametrize("kind", [".docx", ".pptx", ".xlsx", ".hwpx"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_one_that_is_cut_off_is_told_so(kind: str, share: float) -> None:
    data = _EVERY_KIND[kind]
    with pytest.raises(UnreadableDocument, match="its end is missing"):
        parse("a", data[: int(len(data) * share)])


def test_a_missing_part_is_damage() -> None:
    types = entry_of(docx_of("text"), _TYPES)
    with pytest.raises(UnreadableDocument, match="is damaged"):
        parse("a.docx", zip_of({_TYPES: types}))


def test_a_locked_hangul_document_is_a_password() -> None:
    manifest = "<manifest><file-entry><encryption-data/></file-entry></manifest>"
    entries = {"META-INF/manifest.xml": manifest, "Contents/section0.xml": b"\x93\x01\xff"}
    with pytest.raises(UnreadableDocument, match="protected by a password"):
        parse("a.hwpx", with_entries(hwpx_of(""), entries))


async def test_every_kind_is_read_in_a_process_apart() -> None:
    async with open_parser() as parser:
        for kind, data in _EVERY_KIND.items():
            (chunk,) = (await parser.read(f"a{kind}", data, **HOW, timeout_s=60)).chunks
            assert "found" in chunk.content


def test_a_locked_entry_is_a_password() -> None:
    data = bytearray(hwpx_of(hwpx_paragraph("text")))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        directory = archive.start_dir
    data[directory + 8] |= 1
    with pytest.raises(UnreadableDocument, match="protected by a password"):
        parse("a.hwpx", bytes(data))
