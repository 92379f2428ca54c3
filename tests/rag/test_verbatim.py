"""Quotations are found word for word, and nothing that differs in a word is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.verbatim import find_verbatim, quoted

CONTENT = "연차 휴가는 연간\n15일이다. Unused “leave” may be carried over, up to five days."


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("연차 휴가는 연간 15일이다", "연차 휴가는 연간\n15일이다"),
        ("unused leave", None),
        ('unused "leave" may be', "Unused “leave” may be"),
        ("Unused … up to five days.", CONTENT[CONTENT.index("Unused") : -1]),
        ("up to five days … Unused", None),
        ("연차 휴가는 연간 16일이다", None),
        ("…", None),
    ],
)
def test_where_it_stands(text: str, stands: str | None) -> None:
    found = find_verbatim(CONTENT, text)
    assert (found and CONTENT[slice(*found)]) == stands


@given(st.text(), st.text("가나다abc 1", min_size=1).filter(str.strip), st.text())
def test_what_was_put_in_is_found(before: str, text: str, after: str) -> None:
    assert find_verbatim(f"{before}{text}{after}", text) is not None


def test_quotations_of_every_shape() -> None:
    text = '그는 「연차 휴가」와 “sick leave”라고 했고 "PTO"는 없다. "x"'
    found = quoted(text)
    assert [quote.text for quote in found] == ["연차 휴가", "sick leave", "PTO"]
    assert all(quote.text == text[quote.start + 1 : quote.end - 1] for quote in found)
