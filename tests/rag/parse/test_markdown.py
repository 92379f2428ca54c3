"""Markdown stays as it is; a long table's head stands above its rows in every chunk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.chunk import Cut, chunk_pages, embedded_texts
from rag.parse.document import parse
from rag.parse.markdown import parse_markdown
from rag.ruler import Ruler
from rag.sentences import sentences
from rag.tokenizer import TokenizerSource, open_tokenizer

HEAD = "| 고객 | 계좌번호 | 금액 |\n|---|---|---|"
ROWS = [f"| 고객{n} | 110-{n:03}-{n:06} | {n},000원 |" for n in range(60)]
LONG = "\n".join([HEAD, *ROWS])
TABLE = f"# 입금\n\n아래와 같다.\n{LONG}\n\n끝이다."


def test_every_chunk_of_a_long_table_has_its_head() -> None:
    ruler = Ruler(open_tokenizer(TokenizerSource(limit=256)), ("en",))
    chunks = chunk_pages(parse("a.md", TABLE.encode()), Cut(200), ruler, "a.md")
    of_table = [each for each in chunks if "110-" in each.content]
    assert len(of_table) > 2
    for each in of_table:
        before, head, _ = each.content.partition(HEAD)
        assert head
        assert "110-" not in before
    for text in embedded_texts(of_table, "a.md", ruler):
        assert HEAD in text
    rows = {line for each in of_table for line in each.content.split("\n") if "110-" in line}
    assert rows == set(ROWS)


def test_what_a_row_says_is_read_under_the_names_of_its_columns() -> None:
    text = parse_markdown(LONG)
    found = [each for each in sentences(text) if "110-" in text[each.start : each.end]]
    assert len(found) == len(ROWS)
    assert {each.heading for each in found} == {"| 고객 | 계좌번호 | 금액 |"}


@pytest.mark.parametrize(
    "table",
    [
        "\n".join(
            ["| 고객" + " " * 300 + "| 계좌번호 | 금액", "|:--|" + "-" * 300 + "|--:|", *ROWS]
        ),
        "\n".join(["고객|계좌번호|금액", "-|-|-", *ROWS]),
        LONG.replace("\n", "\r\n"),
    ],
)
def test_a_head_is_told_however_wide_it_was_written(table: str) -> None:
    blocks = parse_markdown(table).replace("\r", "").split("\n\n")
    assert len(blocks) > 3
    assert all(block.startswith(f"{HEAD}\n| 고객") for block in blocks)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join([HEAD, *ROWS[:5]]),
        f"```\n{LONG}\n```",
        "\n".join(ROWS),
        "\n".join(["| " + "긴 이름 " * 60 + "| 금액 |", "|---|---|", *ROWS]),
        "제목 | 부제\n---\n" + "본문 " * 300,
        "a | b",
        "",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert parse_markdown(text) == text


@given(
    st.lists(st.sampled_from(["|", "|---|---|", "| a | b |", "```", "", "가 " * 90]), max_size=30)
)
def test_no_line_is_lost(lines: list[str]) -> None:
    text = "\n".join(lines)
    left = parse_markdown(text).split()
    for word in ("|---|---|", "a", "b", "```", "가"):
        assert left.count(word) >= text.split().count(word)
