"""Markers are kept only where they name a passage, whatever the stream's splits."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.citations import Citations


def _rewrite(pieces: list[str], passages: int = 3) -> tuple[str, Citations]:
    citations = Citations(passages)
    text = "".join(citations.feed(piece) for piece in pieces)
    return text + citations.finish(), citations


def test_markers_are_renumbered_by_first_use() -> None:
    text, citations = _rewrite(["나중 것 [3]. 먼저 것 [1]. 다시 [3]."])
    assert text == "나중 것 [1]. 먼저 것 [2]. 다시 [1]."
    assert citations.cited == [2, 0]


def test_a_marker_that_names_no_passage_is_removed_and_counted() -> None:
    text, citations = _rewrite(["so [9] and [0] and [2]"])
    assert text == "so and and [1]"
    assert (citations.cited, citations.removed) == ([1], 2)


def test_several_in_one_bracket() -> None:
    text, citations = _rewrite(["both [2, 1, 7]"])
    assert text == "both [1][2]"
    assert citations.cited == [1, 0]


def test_other_brackets_stay() -> None:
    text, citations = _rewrite(["a [note] and [12ab] and ["])
    assert text == "a [note] and [12ab] and ["
    assert citations.cited == []


@given(
    st.text(alphabet="a가 []123,", max_size=40),
    st.lists(st.integers(0, 40), max_size=6),
)
def test_splits_change_nothing(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    assert _rewrite(pieces)[0] == _rewrite([text])[0]
