"""Words in several scripts, and BM25's numbers."""

import math

import pytest

from rag.lexical import document_vector, query_vector, term_id, term_weights, tokens
from rag.lexicon import Statistics


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("휴가는", ["휴가", "휴가는"]),
        ("집 15일", ["집", "15", "일"]),
        ("연차 휴가는", ["연차", "연차휴", "휴가", "휴가는"]),
        ("그 집의\n문", ["그", "그집", "집의", "문"]),
        ("Annual LEAVES", ["annual", "leav"]),
        ("ＡＢＣ１２", ["abc12"]),
        ("東京都 カナ", ["東京", "京都", "カナ"]),
        ("VPN설정", ["vpn", "설정"]),
        ("models를 3rd", ["model", "를", "3rd"]),
        ("maxChunkSize", ["max", "chunk", "size", "maxchunks"]),
        ("max_size", ["max_size", "max", "size"]),
        ("Straße", ["strass"]),
        ("déjà", ["déjà"]),
        ("", []),
        ("\0\ud800 !?", ["\ud800"]),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert sorted(tokens(text)) == sorted(expected)


LEAVE = term_id("leav")


def test_spaces_in_a_compound_do_not_hide_it() -> None:
    assert set(tokens("연차 휴가")) & set(tokens("연차휴가는")) == {"연차", "연차휴"}


def test_english_endings_do_not_hide_a_word() -> None:
    assert tokens("proteins binding") == tokens("protein binds")


def test_particles_do_not_hide_a_word() -> None:
    assert set(tokens("휴가를")) & set(tokens("휴가는")) == {"휴가"}


def elements(vector: str) -> dict[int, float]:
    pairs = vector[1 : vector.index("}")].split(",")
    return {int(term): float(value) for term, value in (pair.split(":") for pair in pairs)}


def test_more_of_a_word_counts_more_and_ever_less() -> None:
    once, twice, often = (
        elements(document_vector("leave " * n + "other " * (40 - n)))[LEAVE] for n in (1, 2, 20)
    )
    assert once < twice < often < 1.8
    assert twice - once > (often - twice) / 18


def test_a_longer_document_counts_less() -> None:
    short, long = (elements(document_vector("leave " + "word " * n))[LEAVE] for n in (10, 1000))
    assert short > long


def test_inverse_document_frequencies() -> None:
    statistics = Statistics(100, {term_id("the"): 100, LEAVE: 2})
    weights = term_weights(["the", "leav", "unseen"], statistics)
    assert weights["leav"] == pytest.approx(math.log(1 + 98.5 / 2.5))
    assert 0 < weights["the"] < weights["leav"] < weights["unseen"]
    assert elements(query_vector(weights)).keys() == {term_id(word) for word in weights}


def asked(question: str, **frequencies: int) -> dict[str, float]:
    """The question's vector by word, in a store of 100 chunks."""
    counted = {term_id(word): df for word, df in frequencies.items()}
    weights = term_weights(tokens(question), Statistics(100, counted))
    by_term = elements(query_vector(weights))
    return {word: by_term[term_id(word)] for word in weights}


def test_a_korean_word_counts_once_and_not_once_per_prefix() -> None:
    long, short = asked("대한민국 휴가"), asked("휴가")
    assert sum(long.values()) - long["휴가"] < 1.5 * short["휴가"]
    rarer = asked("휴가일수", 휴가=50, 휴가일=2)
    assert rarer["휴가일"] > rarer["휴가"] > 0


def test_words_that_only_ask_count_next_to_nothing() -> None:
    weights = asked("what is the leave policy 휴가는 언제인가요")
    small = {"what", "is", "the", "언제", "언제인", "언제인가", "언제인가요"}
    assert max(weights[word] for word in small) < 0.2 * min(
        weights[word] for word in ("leav", "polici", "휴가")
    )
    assert min(weights.values()) > 0


def test_a_documents_head_counts_less_than_the_text() -> None:
    text = "leave " + "other " * 20
    own, lent, both = (
        elements(document_vector(*parts)).get(LEAVE, 0.0)
        for parts in ((text,), ("other " * 20, "leave"), (text, "leave"))
    )
    assert 0 < lent < 0.6 * own
    assert own < both
