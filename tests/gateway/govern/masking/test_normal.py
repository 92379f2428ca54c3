import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.govern.masking.normal import view

_TEXTS = st.text(alphabet="01２３-－–\u200b\ufe0f\ufffd 가aＡ＠@é\u0301\u3000", max_size=80)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("０１０－１２３４", "010-1234"),
        ("010‑1234—5678", "010-1234-5678"),
        ("010\u00a01234\u30005678", "010 1234 5678"),
        ("01\u200b0\ufeff", "010"),
        ("1\ufe0f\u20e32\ufe0f\u20e3", "12"),
        ("①②٣৩", "123৩"),
        ("①010 ¹０", "\x1f010 \x1f0"),
        ("①②0 0①0 ⓪10 ①", "120 010 010 1"),
        ("ｈｏｎｇ＠ｅｘ．ｋｒ", "hong@ex.kr"),
        ("한국어 text", "한국어 text"),
    ],
)
def test_looks_alike_is_alike(text: str, seen: str) -> None:
    assert view(text).text == seen


@given(_TEXTS)
def test_every_character_stands_for_one_of_the_original(text: str) -> None:
    seen = view(text)
    places = [seen.start(i) for i in range(len(seen.text))]
    assert places == sorted(set(places))
    for place, character in zip(places, seen.text, strict=True):
        assert character == "\ufffd" or view(text[place]).text == character
        assert seen.end(places.index(place) + 1) == place + 1


@given(_TEXTS)
def test_what_is_seen_once_stays(text: str) -> None:
    assert view(view(text).text).text == view(text).text


def test_a_long_run_of_invisible_characters_is_not_looked_through() -> None:
    assert view("1" + "\u200b" * 32 + "2").text == "12"
    assert view("1" + "\u200b" * 33 + "2").text == "1" + "\ufffd" * 33 + "2"
