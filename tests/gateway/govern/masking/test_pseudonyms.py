"""Stand-ins and the way back, wherever the answer is cut."""

import re
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.pseudonyms import Pseudonyms, Restorer
from gateway.govern.masking.scan import scan

_PSEUDONYMS = Pseudonyms(b"key", "")
PHONE = _PSEUDONYMS.of(Kind.PHONE, "010-1234-5678")
EMAIL = _PSEUDONYMS.of(Kind.EMAIL, "hong@example.com")
_PIECES = st.sampled_from(
    [
        *(PHONE, EMAIL, PHONE.lower(), PHONE.replace("_", "\\_"), PHONE[:9], PHONE[9:]),
        *("PII_", "PI", "P", "pii\\", "_", "\\_", "PHONE", "BCDFGHJKLMNPQR", " ", "가", "ii"),
        "PII_OTHER_BCDFGHJKLMNPQR",
    ]
)


def _restored(text: str, cuts: list[int]) -> str:
    restorer, said = Restorer(_PSEUDONYMS.originals), ""
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in pairwise(bounds):
        said += restorer.push(text[start:end])
    return said + restorer.finish()


@settings(max_examples=500, deadline=None)
@given(st.lists(_PIECES, max_size=12).map("".join), st.lists(st.integers(0, 400), max_size=8))
@example(PHONE, list(range(40)))
def test_every_cut_restores_what_the_whole_text_does(text: str, cuts: list[int]) -> None:
    assert _restored(text, cuts) == _restored(text, [])


@settings(max_examples=200, deadline=None)
@given(st.lists(_PIECES, max_size=12).map("".join))
def test_so_does_every_character_by_itself_and_little_is_held_back(text: str) -> None:
    restorer, said = Restorer(_PSEUDONYMS.originals), ""
    for character in text:
        said += restorer.push(character)
        assert len(restorer._held) < 30
    assert said + restorer.finish() == _restored(text, [])


def test_models_may_write_it_small_or_for_markdown() -> None:
    written = f"{PHONE}, {PHONE.lower()}, {PHONE.replace('_', chr(92) + '_')}"
    assert _restored(written, []) == "010-1234-5678, 010-1234-5678, 010-1234-5678"


def test_others_stay() -> None:
    other = Pseudonyms(b"another key", "").of(Kind.PHONE, "010-1234-5678")
    assert other != PHONE
    assert _restored(f"PII_PHONE_{'B' * 14} {other}", []) == f"PII_PHONE_{'B' * 14} {other}"


def test_the_same_text_has_the_same_one_and_another_another() -> None:
    again = Pseudonyms(b"key", "")
    assert again.of(Kind.PHONE, "010-1234-5678") == PHONE
    assert again.of(Kind.PHONE, "010-1234-5679") != PHONE
    assert re.fullmatch(r"PII_PHONE_[BCDFGHJKLMNPQRSTVWXZ]{14}", PHONE)


def test_what_stands_in_the_request_already_is_not_used() -> None:
    for written in (PHONE, PHONE.lower(), PHONE.replace("_", "\\_")):
        taken = Pseudonyms(b"key", f"what is {written}?")
        assert taken.of(Kind.PHONE, "010-1234-5678") != PHONE


def test_in_json_an_original_is_the_inside_of_a_string() -> None:
    pseudonyms = Pseudonyms(b"key", "")
    odd = pseudonyms.of(Kind.PHONE, 'a"b\\')
    restorer = Restorer(pseudonyms.originals, in_json=True)
    assert restorer.push(f'{{"x":"{odd}"}}') == '{"x":"a\\"b\\\\"}'


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=8), st.sampled_from(list(Kind)))
def test_no_pseudonym_is_taken_for_personal_data(key: bytes, kind: Kind) -> None:
    text = f"계좌 {Pseudonyms(key, '').of(kind, 'x')} 은행"
    assert {found for _, found in scan(text)} == {None}
