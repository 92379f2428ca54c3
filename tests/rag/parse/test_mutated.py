"""Whatever the bytes are: pages come out, or a reason."""

from contextlib import suppress

import pytest
from documents import docx_of, entry_of, hwpx_of, hwpx_paragraph, pptx_of, with_entries, xlsx_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from knowledge import pdf_of

from rag.errors import UnreadableDocument
from rag.parse import SUFFIXES
from rag.parse.document import parse

_SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
_SEEDS = {
    "a.pdf": pdf_of(["연차 휴가는 15일이다."], ["page two"]),
    "a.docx": docx_of("# 제목", "- 하나", "text", table=[["a", "b"], ["1", "2"]]),
    "a.pptx": pptx_of(("제목", "본문"), notes="노트"),
    "a.xlsx": xlsx_of(시트=[["이름", "급여"], ["김", 100], ["이", 200]]),
    "a.hwpx": hwpx_of(hwpx_paragraph("제목", kind=1) + hwpx_paragraph("본문")),
    "a.csv": '이름;급여\r\n"김";1,000\r\n'.encode("cp949"),
    "a.json": '{"a": [1, {"b": "c"}], "d": null}'.encode("utf-16"),
    "a.html": b"<html><h1>t</h1><table><tr><td>a<td>b</table><p>&amp;x",
}
_PARTS = {
    "a.docx": ["word/document.xml", "word/styles.xml", "[Content_Types].xml", "_rels/.rels"],
    "a.pptx": ["ppt/slides/slide1.xml", "ppt/presentation.xml", "ppt/_rels/presentation.xml.rels"],
    "a.xlsx": ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml"],
    "a.hwpx": ["Contents/section0.xml", "Contents/header.xml"],
}


def readable(name: str, data: bytes) -> None:
    """Fails with anything else than pages of text or the one error."""
    with suppress(UnreadableDocument):
        assert all(page.text.strip() for page in parse(name, data))


def mutated(data: st.DataObject, original: bytes) -> bytes:
    """Some bytes replaced, a piece doubled, or a piece cut out."""
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, len(changed)))
        end = data.draw(st.integers(start, min(len(changed), start + 200)))
        piece = bytes(changed[start:end])
        new = data.draw(st.sampled_from([b"", piece * 2]) | st.binary(max_size=len(piece) + 4))
        changed[start:end] = new
    return bytes(changed)


@_SETTINGS
@given(st.binary(max_size=2000), st.sampled_from(sorted(SUFFIXES)))
def test_any_bytes(data: bytes, suffix: str) -> None:
    readable(f"a{suffix}", data)


@pytest.mark.parametrize("name", _SEEDS)
@_SETTINGS
@given(data=st.data())
def test_a_damaged_document(name: str, data: st.DataObject) -> None:
    readable(name, mutated(data, _SEEDS[name]))


@pytest.mark.parametrize("name", _PARTS)
@_SETTINGS
@given(data=st.data())
def test_a_damaged_part_in_a_sound_archive(name: str, data: st.DataObject) -> None:
    part = data.draw(st.sampled_from(_PARTS[name]))
    original = entry_of(_SEEDS[name], part).encode()
    readable(name, with_entries(_SEEDS[name], {part: mutated(data, original)}))
