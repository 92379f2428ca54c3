"""CSV and TSV of every program and encoding."""

import pytest

from rag.parse.document import parse

_ROWS = [("이름", "급여"), ("김, 철수", "1000"), ("박영희", "2000")]


def written(delimiter: str) -> str:
    return "".join(f'"{name}"{delimiter}{pay}\r\n' for name, pay in _ROWS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_dialects_and_encodings(delimiter: str, encoding: str) -> None:
    (page,) = parse("a.csv", written(delimiter).encode(encoding))
    assert page.text == "이름 | 급여\n김, 철수 | 1000\n박영희 | 2000"


def test_a_long_one_names_its_columns_in_every_row() -> None:
    rows = "".join(f"사람{n}\t{n}\n" for n in range(200))
    (page,) = parse("a.tsv", ("이름\t급여\n" + rows).encode())
    assert page.text.split("\n\n")[150] == "이름: 사람150 | 급여: 150"


def test_a_quoted_cell_may_hold_lines() -> None:
    (page,) = parse("a.csv", b'q,a\n"two\nlines",1\n')
    assert page.text == "q | a\ntwo lines | 1"


def test_what_is_no_table_is_read_as_text() -> None:
    text = 'words\n"' + "never closed " * 100_000 + "x"
    (page,) = parse("a.csv", text.encode())
    assert page.text == text
