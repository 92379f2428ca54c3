"""Korean endings."""

import pytest

from rag.korean import ACTION_SHARE, VERB_SHARE, is_empty, spaced, stem, stem_ends


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


@pytest.mark.parametrize(
    ("run", "parted"),
    [
        ("지체상금은얼마인가요?", "지체상금은 얼마인가요?"),
        ("1분기영업이익은얼마인가요?", "1분기 영업이익은 얼마인가요?"),
        ("남은연차내년으로넘길수있나요?", "남은연차내년으로넘길 수 있나요?"),
        ("하자담보책임기간은언제까지인가요?", "하자담보책임기간은 언제까지인가요?"),
        ("얼마인가요?", "얼마인가요?"),
        (
            "3월부터는 선언제도에 대한 근로자대표를 뽑는다",
            "3월부터는 선언제도에 대한 근로자대표를 뽑는다",
        ),
    ],
)
def test_a_run_without_spaces_is_parted(run: str, parted: str) -> None:
    assert spaced(run) == parted


@pytest.mark.parametrize(
    "piece", ["언제까지", "며칠인가요", "쓸수있나요", "되나요", "3년이", "몇시부터"]
)
def test_a_piece_that_names_nothing(piece: str) -> None:
    assert is_empty(piece)


@pytest.mark.parametrize("piece", ["언제제출", "휴가는", "있나요연차", "3년휴가"])
def test_a_piece_that_names_something(piece: str) -> None:
    assert not is_empty(piece)


def test_a_stem_ends_before_an_ending_or_nowhere() -> None:
    assert stem_ends("휴가를") == [2, 3]
    assert stem_ends("신청하려면") == [2, 3, 4, 5]
    assert stem_ends("출산하면남편") == [6]
