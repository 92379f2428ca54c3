"""Chunks are verbatim spans that together hold everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.chunk import chunk_pages, document_head, heading_level, indexed_text
from rag.types import Page

WORDS = st.sampled_from(
    [
        "휴가는",
        "15일이다.",
        "a",
        "word.",
        "\n",
        "\n\n",
        "# 제목\n",
        "제3조(휴가)\n",
        " ",
        "긴" * 150,
        "。",
    ]
)
TEXTS = st.one_of(st.lists(WORDS, max_size=60).map(" ".join), st.text(max_size=400))


@given(st.lists(TEXTS, min_size=1, max_size=3), st.integers(100, 300))
def test_every_character_is_in_one_chunk_or_blank(texts: list[str], limit: int) -> None:
    pages = [Page(number, text) for number, text in enumerate(texts, start=1)]
    chunks = chunk_pages(pages, limit)
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    for page in pages:
        behind = 0
        for chunk in (chunk for chunk in chunks if chunk.page == page.number):
            assert chunk.content == page.text[chunk.start : chunk.end]
            assert chunk.content.strip()
            assert len(chunk.content) <= limit
            assert not page.text[behind : chunk.start].strip()
            behind = chunk.end
        assert not page.text[behind:].strip()


def test_headings_begin_chunks_and_hold_over_pages() -> None:
    pages = [
        Page(1, "# 인사 규정\n\n총칙이다.\n\n## 휴가\n\n연차는 15일이다."),
        Page(2, "병가는 60일이다.\n\n# 복무\n\n출근은 9시다."),
    ]
    assert [(c.page, c.heading, c.content) for c in chunk_pages(pages, 800)] == [
        (1, "인사 규정", "# 인사 규정\n\n총칙이다."),
        (1, "인사 규정 > 휴가", "## 휴가\n\n연차는 15일이다."),
        (2, "인사 규정 > 휴가", "병가는 60일이다."),
        (2, "복무", "# 복무\n\n출근은 9시다."),
    ]


def test_long_paragraphs_are_cut_behind_sentences() -> None:
    sentence = "연차 휴가는 입사일을 기준으로 매년 15일을 준다. "
    chunks = chunk_pages([Page(None, sentence * 20)], 200)
    assert all(chunk.content.endswith("준다.") for chunk in chunks)
    assert all(len(chunk.content) > 150 for chunk in chunks[:-1])


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("### 병가 ###", 3),
        ("제1장 총칙", 2),
        ("제12조(연차 휴가)", 5),
        ("제2조의2 (정의)", 5),
        ("2.1 Sick leave", 2),
        ("Chapter 4 Leave", 2),
        ("제12조에 따라 휴가를 준다", 0),
        ("2.5 days are given for each month.", 0),
        ("1. 신청서", 0),
        ("plain words", 0),
        ("", 0),
    ],
)
def test_what_a_heading_is(line: str, level: int) -> None:
    assert heading_level(line) == level


def test_both_legs_see_the_name_and_the_headings() -> None:
    (chunk,) = chunk_pages([Page(None, "# 휴가\n15일")], 800)
    assert indexed_text(chunk, "규정.md") == "규정.md\n휴가\n# 휴가\n15일"


def test_a_documents_head_is_its_first_words() -> None:
    pages = [Page(1, "---\n\n머리말 " + "가나 " * 100), Page(2, "휴가는 15일이다.")]
    head = document_head(chunk_pages(pages, 800))
    assert head.startswith("머리말 가나")
    assert len(head) <= 200
    assert document_head(chunk_pages([Page(None, "--- 1 ---")], 800)) == ""
    assert document_head([]) == ""


def test_the_first_line_of_the_document_goes_before_its_later_chunks() -> None:
    chunk = chunk_pages([Page(None, "# 휴가\n\n15일")], 800)[0]
    head = "취업 규칙\n2026년 1월"
    assert indexed_text(chunk, "규정.md", head) == "규정.md\n취업 규칙\n휴가\n# 휴가\n\n15일"
    assert indexed_text(chunk, "규정.md", "휴가") == "규정.md\n휴가\n# 휴가\n\n15일"
