"""Text in parts: the same is found wherever it is cut, and little is held back."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.govern.masking.detect import REACH
from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.scan import Piece, Scanner, scan

_CASES = [
    json.loads(line)["text"]
    for name in ("cases.jsonl", "columns.jsonl")
    for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
]
_SNIPPETS = st.sampled_from(
    [
        *("010-1234-5678", "900101-1234567", "４１１１ 1111 1111 1111", "hong@example.com"),
        *(
            "계좌 ",
            "110-123-456789",
            " (신한은행)",
            " 국민은행 ",
            "여권번호 ",
            "M12345678",
            "M123A4567",
        ),
        *(
            "+82 10-",
            "+44 20 7946 0123",
            "(02)",
            "12",
            "0",
            " ",
            "  ",
            ".",
            "-",
            "\n",
            "@",
            "a",
            "가",
        ),
        *("\u200b", "\u200b" * 40, "\ufffd", "x" * 70, "1" * 30, "11-12-345678-90", "104-86-39742"),
        *(
            "\\n",
            "\\u00a0",
            "\\",
            "Tel.",
            "계좌",
            "GB82 WEST 1234 5698 7654 32",
            "한국어 문장입니다. ",
            "an English sentence ",
            "\u2013",
            "é",
        ),
        *("<tr><th>계좌번호</th>", "<tr>", "<td class='x'>", "</td></tr>\n", "</table>", "<"),
        *("| 이름 | 계좌번호 |\n", "|---|---|\n", "| 김철수 | ", " |\n", "passport no,", '"', ","),
        *("\n계좌번호:\n", "- ", "\t", "\r\n", "account\tname\n", "x" * 1030, "R12345678"),
        *("900101/", "1234567", "/", "_", ".jpg", "①", "¹", "０"),
    ]
)
_TEXTS = st.one_of(
    st.lists(_SNIPPETS, max_size=12).map("".join),
    st.lists(st.sampled_from(_CASES), min_size=1, max_size=3).map(" ".join),
    st.text(alphabet="0123456789 -.()+@aM가\u200b\n", max_size=60),
)


def _in_parts(text: str, cuts: list[int]) -> list[Piece]:
    scanner, pieces = Scanner(), list[Piece]()
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in pairwise(bounds):
        pieces += scanner.push(text[start:end])
    return _joined(pieces + scanner.finish())


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Join what is of no kind: how that comes in parts says nothing."""
    joined = list[Piece]()
    for text, kind in pieces:
        if kind is None and joined and joined[-1][1] is None:
            joined[-1] = (joined[-1][0] + text, None)
        else:
            joined.append((text, kind))
    return joined


@settings(max_examples=400, deadline=None)
@given(_TEXTS, st.lists(st.integers(0, 10_000), max_size=6))
@example("\u200b" * 20 + "0", [10])
def test_every_cut_finds_what_the_whole_text_has(text: str, cuts: list[int]) -> None:
    assert _in_parts(text, cuts) == _joined(scan(text))


@settings(max_examples=150, deadline=None)
@given(_TEXTS)
@example("(02)4111 1111")
@example("+(02)4111 1111, ((02) 4111 1111")
def test_so_does_every_character_by_itself(text: str) -> None:
    assert _in_parts(text, list(range(len(text)))) == _joined(scan(text))


@settings(max_examples=200, deadline=None)
@given(_TEXTS)
def test_the_pieces_are_the_text(text: str) -> None:
    assert "".join(piece for piece, _ in scan(text)) == text


@pytest.mark.parametrize("text", ["1" * 5000, "a" * 5000, "1 " * 2500, "a@" * 2500, "+1-" * 2000])
def test_no_more_is_held_back_than_decides(text: str) -> None:
    scanner, out = Scanner(), 0
    for at, character in enumerate(text, start=1):
        out += sum(len(piece) for piece, _ in scanner.push(character))
        assert at - out <= REACH


def test_words_without_numbers_are_not_held_back() -> None:
    scanner = Scanner()
    assert scanner.push("연차 휴가는 ") == [("연차 휴가는 ", None)]
    assert scanner.push("leave is granted ") == [("leave is granted ", None)]
    assert scanner.push("gran") == []
    assert scanner.finish() == [("gran", None)]


def test_invisible_characters_go_with_the_number_they_stand_in() -> None:
    assert scan("tel 010\u200b-1234-56\u206078.") == [
        ("tel ", None),
        ("010\u200b-1234-56\u206078", Kind.PHONE),
        (".", None),
    ]


def test_what_stands_before_says_what_a_number_is() -> None:
    assert scan("352-1234-5678-93") == [("352-1234-5678-93", None)]
    assert scan("352-1234-5678-93", before='account_number": "') == [
        ("352-1234-5678-93", Kind.BANK_ACCOUNT)
    ]
