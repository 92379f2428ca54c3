"""Markers are kept only where their passage says it, whatever the stream's splits."""

import asyncio
import itertools
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from passages import retrieval_of

from gateway.agents.citations import Citations
from rag.embedding_wire import Kind, Vector
from rag.testing import InMemoryEmbedder

LEAVE = "연차 휴가는 연간 15일입니다. 연차 휴가는 사용하려는 날의 3일 전까지 신청합니다."
SICK = "병가는 1년에 유급으로 10일까지 쓸 수 있습니다."
REMOTE = "Employees may work from home up to two days per week after probation."
PASSAGES = retrieval_of("?", LEAVE, SICK, REMOTE).passages


async def rewritten(*pieces: str, keep_unknown: bool = False) -> tuple[str, Citations]:
    citations = Citations(PASSAGES, keep_unknown=keep_unknown)
    text = "".join([await citations.feed(piece) for piece in pieces])
    return text + await citations.finish(), citations


async def test_markers_are_renumbered_by_first_use() -> None:
    text, citations = await rewritten(
        "재택은 two days per week [3]. 연차는 15일 [1]. 다시 two days [3]."
    )
    assert text == "재택은 two days per week [1]. 연차는 15일 [2]. 다시 two days [1]."
    assert citations.cited == [2, 0]
    assert [each.index for each in citations.references] == [1, 2]


async def test_a_marker_that_names_no_passage_is_removed_and_counted() -> None:
    text, citations = await rewritten("병가는 10일입니다 [9]. 병가는 10일 [0]. 병가는 10일 [2].")
    assert text == "병가는 10일입니다. 병가는 10일. 병가는 10일 [1]."
    assert (citations.cited, citations.removed, citations.unsupported) == ([1], 2, 0)


@pytest.mark.parametrize(
    "answer",
    [
        "연차는 20일입니다 [1].",  # another number
        "연차는 20일입니다. [1]",
        "연차는 [1]에 따라 20일입니다.",  # what follows the marker counts too
        "[1]에 따르면 연차는 20일입니다.",
        "주차장은 지하에 있습니다 [1].",  # another matter
        "Parking is free for everyone [3].",
        "병가는 유급으로 쓸 수 있습니다 [1].",  # another passage says it
        'The rule says "employees work from home daily" [3].',  # a quote that is none
        "규정은 “병가는 10일까지 무급으로 쓸 수 있습니다”라고 합니다 [2].",
        "「유급으로 12일까지」 쓸 수 있는 병가 [2]",
        'It says "Employees may work from home up to two days per week after probation." [2]',
    ],
)
async def test_a_marker_whose_passage_does_not_say_it_is_removed_and_counted(answer: str) -> None:
    text, citations = await rewritten(answer)
    assert "[" not in text
    assert text == re.sub(r" ?\[\d\]", "", answer)
    assert (citations.references, citations.unsupported) == ([], 1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("연차는 1년에 15일입니다 [1].", "연차 휴가는 연간 15일입니다."),
        ("연차는 15일[1]이고, 병가는 유급으로 10일입니다[2].", "연차 휴가는 연간 15일입니다."),
        (
            "[1]에 따르면 연차는 15일이고 [2]에 따르면 병가는 10일입니다.",
            "연차 휴가는 연간 15일입니다.",
        ),
        ("네, 사용하려는 날의 3일 전까지 신청하세요. [1]", LEAVE.partition(". ")[2]),
        ("1. 연차 휴가: 15일 [1]\n2. 병가: 10일 [2]\n", "연차 휴가는 연간 15일입니다."),
        ("규정은 “연차 휴가는 연간 15일”이라고 합니다 [1].", "연차 휴가는 연간 15일"),
        ('They "may work from home … per week" [3].', "may work from home up to two days per week"),
        ("Employees can work from home 2 days a week [3].", REMOTE),
        ("You may do it twice a week: working from home, after your probation [3].", REMOTE),
    ],
)
async def test_a_reference_is_the_place_that_says_it(answer: str, said: str) -> None:
    _, citations = await rewritten(answer)
    assert citations.unsupported == 0
    first = citations.references[0]
    assert first.content == said
    passage = PASSAGES[citations.cited[0]]
    assert passage.content[first.start - passage.start : first.end - passage.start] == said


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("연차 휴가: 15일 [1] 병가는 유급으로 10일입니다. [2]", [0, 1]),
        ("연차 휴가: 15일 [1] 병가는 유급으로 10일입니다.", [0]),
        ("연차 휴가 15일[1], 병가는 유급으로 10일입니다. [2]", [0, 1]),
        ("연차 휴가 | 15일 [1] **병가**는 유급으로 10일입니다. [2] 끝.", [0, 1]),
        ("From home: two days [3] The sick leave is 10 days. 병가는 10일입니다. [2]", [2, 1]),
        ("연차 휴가: 20일 [1] 병가는 유급으로 10일입니다. [2]", [1]),
        ("연차 휴가는 [1] 20일입니다.", []),
        ("2026년 연차 휴가는 [1] 20일입니다.", []),
        ("연차 휴가: 15일 [1]에서 20일로 늘었습니다.", []),
        ("From home: two days [3] or five days a week.", []),
    ],
)
async def test_a_fragment_that_says_something_has_its_own_marker(
    answer: str, kept: list[int]
) -> None:
    for pieces in ([answer], [*answer]):
        text, citations = await rewritten(*pieces)
        assert citations.cited == kept
        assert len(re.findall(r"\[\d\]", text)) == len(kept)


async def test_two_sentences_of_a_passage_are_one_reference_with_both() -> None:
    _, citations = await rewritten("연차는 15일입니다 [1]. 3일 전까지 신청합니다 [1].")
    assert [each.content for each in citations.references] == [LEAVE]


async def test_several_markers_share_what_the_sentence_states() -> None:
    text, citations = await rewritten("연차는 15일이고 병가는 10일입니다 [2, 1, 7].")
    assert text == "연차는 15일이고 병가는 10일입니다 [1][2]."
    assert (citations.cited, citations.removed) == ([1, 0], 1)
    text, citations = await rewritten("연차는 15일이고 병가는 12일입니다 [1][2].")
    assert text == "연차는 15일이고 병가는 12일입니다."
    text, _ = await rewritten("연차 휴가는 연간 15일입니다 [1][3].")
    assert text == "연차 휴가는 연간 15일입니다 [1]."


async def test_other_brackets_stay() -> None:
    text, citations = await rewritten("a [note] and [12ab] and [")
    assert text == "a [note] and [12ab] and ["
    assert citations.cited == []


async def test_a_marker_may_be_code_where_that_is_said() -> None:
    code = "`rows[1]` and x[9]. 병가는 10일 [2]."
    text, citations = await rewritten(code, keep_unknown=True)
    assert text == "`rows[1]` and x[9]. 병가는 10일 [1]."
    assert citations.cited == [1]


async def test_text_is_not_held_and_a_marker_only_until_its_sentence_is_known() -> None:
    citations = Citations(PASSAGES)
    assert await citations.feed("연차는 1년에 15일입니다") == "연차는 1년에 15일입니다"
    assert await citations.feed(" [1]") == ""
    assert await citations.feed(". 병가는") == " [1]. 병가는"
    assert await citations.feed(" 10일 [2] 까지") == " 10일"
    assert await citations.feed(" 유급입니다.") == ""
    assert await citations.feed("\n") == " [2] 까지 유급입니다.\n"


async def test_a_sentence_without_an_end_is_not_waited_for_for_ever() -> None:
    citations = Citations(PASSAGES)
    held = "병가는 10일 [2]" + " 유급" * 79
    assert await citations.feed(held) == "병가는 10일"
    assert (await citations.feed(" 유급")).startswith(" [1] 유급")


class Never(InMemoryEmbedder):
    async def embed(self, texts: Sequence[str], kind: Kind = "document") -> list[Vector]:
        self.asked += texts
        return await asyncio.get_running_loop().create_future()


async def test_an_embedder_that_does_not_answer_is_asked_once_an_answer() -> None:
    embedder = Never()
    citations = Citations(PASSAGES, embedder)
    open_question = "Staff could choose two days at their own place [3]. "
    assert "[" not in await citations.feed(open_question + open_question)
    assert len(embedder.asked) == 1
    assert citations.unsupported == 2


async def test_an_embedder_is_not_asked_about_a_language_it_does_not_know() -> None:
    embedder = InMemoryEmbedder(languages=["en"])
    citations = Citations(PASSAGES, embedder)
    await citations.feed("직원은 휴가를 아무 때나 언제든지 마음대로 고를 수 있습니다 [1]. ")
    assert (embedder.asked, citations.unsupported) == ([], 1)


ALPHABET = st.sampled_from(
    [
        *'a가 .\n[]12,"“”`',
        "[1]",
        " [2]",
        "[1][3]",
        "연차 휴가는 15일",
        "병가: 10일",
        "입니다.",
        "10일 병가",
        "[9]",
    ]
)


@given(
    st.lists(ALPHABET, max_size=30).map("".join),
    st.lists(st.integers(0, 120), max_size=8),
    st.booleans(),
)
async def test_splits_change_nothing(text: str, cuts: list[int], keep_unknown: bool) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    split, counted = await rewritten(*pieces, keep_unknown=keep_unknown)
    whole, expected = await rewritten(text, keep_unknown=keep_unknown)
    assert split == whole
    assert (counted.cited, counted.removed, counted.unsupported) == (
        expected.cited,
        expected.removed,
        expected.unsupported,
    )
    assert counted.references == expected.references


@given(st.lists(ALPHABET, max_size=30).map("".join))
async def test_every_marker_left_is_a_reference_and_the_other_way_round(text: str) -> None:
    answer, citations = await rewritten(*text)
    for index, each in enumerate(citations.references, start=1):
        assert f"[{index}]" in answer
        passage = PASSAGES[citations.cited[index - 1]]
        assert each.content
        assert each.content == passage.content[each.start : each.end]
