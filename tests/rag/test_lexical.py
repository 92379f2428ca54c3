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
        ("Annual LEAVE", ["annual", "leave"]),
        ("ＡＢＣ１２", ["abc12"]),
        ("東京都 カナ", ["東京", "京都", "カナ"]),
        ("VPN설정", ["vpn", "설정"]),
        ("maxChunkSize", ["max", "chunk", "size", "maxchunksize"]),
        ("max_size", ["max_size", "max", "size"]),
        ("Straße", ["strasse"]),
        ("", []),
        ("\0\ud800 !?", ["\ud800"]),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert sorted(tokens(text)) == sorted(expected)


def test_particles_do_not_hide_a_word() -> None:
    assert set(tokens("휴가를")) & set(tokens("휴가는")) == {"휴가"}


def elements(vector: str) -> dict[int, float]:
    pairs = vector[1 : vector.index("}")].split(",")
    return {int(term): float(value) for term, value in (pair.split(":") for pair in pairs)}


def test_more_of_a_word_counts_more_and_ever_less() -> None:
    once, twice, often = (
        elements(document_vector("leave " * n + "other " * (40 - n)))[term_id("leave")]
        for n in (1, 2, 20)
    )
    assert once < twice < often < 1.8
    assert twice - once > (often - twice) / 18


def test_a_longer_document_counts_less() -> None:
    short, long = (
        elements(document_vector("leave " + "word " * n))[term_id("leave")] for n in (10, 1000)
    )
    assert short > long


def test_inverse_document_frequencies() -> None:
    statistics = Statistics(100, {term_id("the"): 100, term_id("leave"): 2})
    weights = term_weights(["the", "leave", "unseen"], statistics)
    assert weights["leave"] == pytest.approx(math.log(1 + 98.5 / 2.5))
    assert 0 < weights["the"] < weights["leave"] < weights["unseen"]
    assert elements(query_vector(weights)).keys() == {term_id(word) for word in weights}
