"""Office documents: which one it is, its content says, whatever its name."""

import re

from rag.errors import UnreadableDocument
from rag.parse.archive import Archive, open_archive
from rag.parse.docx import parse_docx
from rag.parse.hwpx import parse_hwpx
from rag.parse.pptx import parse_pptx
from rag.parse.xlsx import parse_xlsx
from rag.types import Page

_READERS = {"docx": parse_docx, "pptx": parse_pptx, "xlsx": parse_xlsx, "hwpx": parse_hwpx}

_CONTENT_TYPES = "[Content_Types].xml"
_MAIN_PART = re.compile(rb"application/[\w.-]*?(word|presentation|powerpoint|spreadsheet|excel)"
                        rb"[\w.-]*\.main\+xml")  # fmt: skip
_OPENXML = b"application/vnd.openxmlformats-officedocument."
# What Word, PowerPoint and Excel write, and what templates, slide shows and files with macros are
# to a reader of text.
_KINDS = {
    b"word": ("docx", _OPENXML + b"wordprocessingml.document.main+xml"),
    b"presentation": ("pptx", _OPENXML + b"presentationml.presentation.main+xml"),
    b"powerpoint": ("pptx", _OPENXML + b"presentationml.presentation.main+xml"),
    b"spreadsheet": ("xlsx", _OPENXML + b"spreadsheetml.sheet.main+xml"),
    b"excel": ("xlsx", _OPENXML + b"spreadsheetml.sheet.main+xml"),
}
_STRICT = b"purl.oclc.org/ooxml"
_HWPX_SECTION = "Contents/section0.xml"
_HWPX_LOCK = b"encryption-data"  # OpenDocument 1.2, part 3, 3.8
# A tree takes up to 150 bytes for each tag and 20 times what attributes take. Sheets are no trees.
_MOST_TREE_TAGS = 6_000_000
_MOST_TREE_BYTES = 64 << 20

# The directory of an OLE 2 file names its streams in UTF-16: [MS-CFB] 2.6.1.
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HWP_3 = b"HWP Document File"
_OLD = {
    "EncryptedPackage": "the file is protected by a password",
    "WordDocument": "this is an old Word file (.doc): save it as DOCX",
    "PowerPoint Document": "this is an old PowerPoint file (.ppt): save it as PPTX",
    "Workbook": "this is an old Excel file (.xls): save it as XLSX",
    "BodyText": "this is an old Hangul file (.hwp): save it as HWPX",
}


def parse_office(data: bytes) -> list[Page]:
    """Return the pages of a DOCX, PPTX, XLSX or HWPX file.

    Raises:
        UnreadableDocument: It is none of them, broken, protected, a bomb, or only pictures.
    """
    archive = open_archive(data)
    kind, archive = _identify(archive)
    if kind != "xlsx":
        _check_tree(archive)
    pages = _READERS[kind](archive)
    if archive.has_pictures and not any(page.text.strip() for page in pages):
        raise UnreadableDocument(
            "the file holds only pictures: run text recognition (OCR) over it first",
            code="unsupported_file",
        )
    return pages


def _check_tree(archive: Archive) -> None:
    parts = archive.parts.values()
    size, tags = sum(map(len, parts)), sum(part.count(b"<") for part in parts)
    if size > _MOST_TREE_BYTES or tags > _MOST_TREE_TAGS:
        raise UnreadableDocument("the file is far larger than a document; split it")


def refuse_old(data: bytes) -> None:
    """Say what to save a file of an old office program as.

    Raises:
        UnreadableDocument: It is one.
    """
    if data.startswith(_HWP_3):
        raise UnreadableDocument(_OLD["BodyText"], code="unsupported_file")
    if not data.startswith(_OLE):
        return
    for stream, reason in _OLD.items():
        if stream.encode("utf-16-le") in data:
            raise UnreadableDocument(reason, code="unsupported_file")
    reason = "this is a file of an old program: save it as DOCX, PPTX, XLSX, HWPX or PDF"
    raise UnreadableDocument(reason, code="unsupported_file")


def _identify(archive: Archive) -> tuple[str, Archive]:
    """Return the format, and the archive as the plain document of that format."""
    types = archive.parts.get(_CONTENT_TYPES, b"")
    if match := _MAIN_PART.search(types):
        if _STRICT in archive.parts.get("_rels/.rels", b""):
            raise UnreadableDocument(
                "the file is Strict Open XML: save it as the usual kind (not Strict)",
                code="unsupported_file",
            )
        kind, main_type = _KINDS[match[1]]
        parts = {**archive.parts, _CONTENT_TYPES: types.replace(match[0], main_type)}
        return kind, Archive(parts, archive.has_pictures)
    if _HWPX_SECTION in archive.parts:
        if _HWPX_LOCK in archive.parts.get("META-INF/manifest.xml", b""):
            raise UnreadableDocument("the file is protected by a password")
        return "hwpx", archive
    raise UnreadableDocument(
        "the file is a ZIP archive but no DOCX, PPTX, XLSX or HWPX document:"
        " unpack it and upload the documents in it",
        code="unsupported_file",
    )
