"""Korean endings."""

import pytest

from rag.korean import ACTION_SHARE, VERB_SHARE, stem


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("휴가는", ("휴가", 1.0)),
        ("휴가", ("휴가", 1.0)),
        ("평가에서는", ("평가", 1.0)),
        ("공휴일이면", ("공휴일", 1.0)),
        ("신청하려면", ("신청", ACTION_SHARE)),
        ("지급되나요", ("지급", ACTION_SHARE)),
        ("늘어나나요", ("늘어나", VERB_SHARE)),
        ("바꿔야", ("바꾸", VERB_SHARE)),
        ("며칠인가요", None),
        ("있나요", None),
        ("쉬는", None),
        ("쓰면", None),
        ("돈으로", None),
        ("차", None),
    ],
)
def test_stems(word: str, expected: tuple[str, float] | None) -> None:
    assert stem(word) == expected


def test_the_next_word_tells_a_verb() -> None:
    assert stem("넘길", "수") == ("넘기", VERB_SHARE)
    assert stem("내야", "하나요") is None
    assert stem("직원", "수") == ("직원", 1.0)
