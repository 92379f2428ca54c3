"""What each kind of file becomes, and what is said about those that can't be read."""

import pytest
from knowledge import pdf_of

from rag.errors import UnreadableDocument
from rag.parse.document import parse


def text_of(name: str, data: bytes) -> str:
    (page,) = parse(name, data)
    assert page.number is None
    return page.text


def test_a_pdf_has_its_true_page_numbers() -> None:
    pages = parse("규정.pdf", pdf_of(["연차 휴가는 15일이다."], [], ["Sick leave: 60 days"]))
    assert [(page.number, page.text) for page in pages] == [
        (1, "연차 휴가는 15일이다."),
        (3, "Sick leave: 60 days"),
    ]


def test_content_decides_before_the_name() -> None:
    assert parse("notes.txt", pdf_of(["found"]))[0].number == 1
    assert text_of("page.txt", b"<!DOCTYPE html><p>a<p>b").split() == ["a", "b"]


@pytest.mark.parametrize("data", [b"", b" \n\t\n", b"\xef\xbb\xbf"])
def test_empty_files(data: bytes) -> None:
    with pytest.raises(UnreadableDocument, match=r"empty|holds no text"):
        parse("a.md", data)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.pdf", pdf_of(["secret"], encrypted=True), "protected by a password"),
        ("a.pdf", b"%PDF-1.7\nthis is not one", "damaged"),
        ("a.pdf", b"plain words", "is no PDF"),
        ("a.pdf", pdf_of([], []), "it is a scan"),
        ("a.docx", b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00", "its end is missing"),
        ("a.rtf", rb"{\rtf1 words}", "supported are PDF"),
        ("a.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe", "supported are PDF"),
        ("a.html", b"<html><script>x()</script></html>", "holds no text"),
    ],
)
def test_the_reason_is_said(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=reason):
        parse(name, data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_encodings(encoding: str) -> None:
    assert text_of("a.txt", "연차 휴가, annual leave".encode(encoding)) == "연차 휴가, annual leave"


@pytest.mark.parametrize(
    "text",
    [
        "The café opens at 9 – book “early”. £120 per night.",
        "item,price\nBolt,€12",
        "Bitte für Zoë übersetzen",
    ],
)
def test_text_of_western_windows(text: str) -> None:
    assert text_of("a.txt", text.encode("cp1252")) == text


def test_rare_syllables_are_korean() -> None:
    assert text_of("a.txt", "똠방각하는 1987년 드라마이다.".encode("cp949"))[0] == "똠"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("こんにちは。これはテストです。", "shift_jis"),
        ("서울 본사 담당자는 고은별이다", "johab"),
        ("Тихая комната на пятом этаже", "cp1251"),
        ("The quiet room is on floor 5.", "utf-16-le"),
    ],
)
def test_an_encoding_that_is_not_known_is_named(text: str, encoding: str) -> None:
    with pytest.raises(UnreadableDocument, match="no encoding we know: save it as UTF-8"):
        parse("a.csv", text.encode(encoding))


def test_nothing_unprintable_stays() -> None:
    text = "a\0b" + "long enough to be text " * 20 + "\r\n\r\n\r\n\u200bend\f"
    assert text_of("a.txt", text.encode()) == "ab" + ("long enough to be text " * 20).rstrip() + (
        "\n\nend"
    )
