"""The ZIP archive inside an office document, read within bounds and only as far as text needs it.

Nothing touches the disk. Pictures, macros and embedded files are never unpacked, so an archive
inside the archive stays shut.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

from rag.errors import UnreadableDocument

_MOST_ENTRIES = 20_000
_MOST_BYTES = 256 << 20
# Deflate reaches 1032; documents stay under 50, and small ones may do as they like.
_MOST_RATIO = 200
_RATIO_FROM_BYTES = 16 << 20
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # ECMA-376-2, annex B; others have no bound
_ENCRYPTED = 0x1
_PIECE = 1 << 20
_XML = (".xml", ".rels", ".hpf")
_DOCTYPES = tuple("<!DOCTYPE".encode(encoding) for encoding in ("ascii", "utf-16-le", "utf-16-be"))
_PICTURES = ("media/", "BinData/")


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive holds.

    Attributes:
        parts: The XML parts by name; all others are there too, but empty.
        has_pictures: There are pictures among the others.
    """

    parts: Mapping[str, bytes]
    has_pictures: bool

    def to_zip(self) -> io.BytesIO:
        """Return the parts as an archive again, for libraries that want one."""
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
            for name, content in self.parts.items():
                copy.writestr(name, content)
        target.seek(0)
        return target


def open_archive(data: bytes) -> Archive:
    """Unpack an office document's XML.

    Raises:
        UnreadableDocument: It is cut off, protected, or larger than any document.
    """
    try:
        source = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile as error:
        raise UnreadableDocument(
            "the file is damaged: its end is missing; try to upload it again"
        ) from error
    with source:
        entries = [entry for entry in source.infolist() if _is_inside(entry.filename)]
        _check(entries, len(data))
        parts = {entry.filename: _read(source, entry) for entry in entries}
    pictures = any(
        entry.file_size and place in entry.filename for entry in entries for place in _PICTURES
    )
    return Archive(parts, pictures)


def _is_inside(name: str) -> bool:
    """Tell whether this names a part, not a folder or a place outside of the archive."""
    return not name.startswith("/") and not name.endswith("/") and ".." not in name.split("/")


def _check(entries: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse by what the directory declares; reading goes no further than that."""
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise UnreadableDocument("the file is protected by a password")
    if len(entries) > _MOST_ENTRIES:
        raise UnreadableDocument(f"the file has more than {_MOST_ENTRIES} parts")
    unpacked = sum(entry.file_size for entry in entries if entry.filename.endswith(_XML))
    everything = sum(entry.file_size for entry in entries)
    if unpacked > _MOST_BYTES or everything > max(_RATIO_FROM_BYTES, _MOST_RATIO * size):
        raise UnreadableDocument(
            "the file unpacks to far more than a document holds; split it into smaller ones"
        )


def _read(source: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return a part's content, in pieces: asked for all at once, zipfile trusts the data's size."""
    if not entry.filename.endswith(_XML):
        return b""
    if entry.compress_type not in _METHODS:
        raise UnreadableDocument("the file is packed in a way that office documents are not")
    with source.open(entry) as file:
        content = b"".join(iter(lambda: file.read(_PIECE), b""))
    # Forbidden in these formats (ECMA-376-2, 8.2.4), and the way to entities that grow.
    if any(doctype in content for doctype in _DOCTYPES):
        raise UnreadableDocument("the file's XML declares a document type, as no document does")
    return content
