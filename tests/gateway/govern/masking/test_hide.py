import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.govern.masking.hide import PART, Blocked, Hider, HidingText
from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.policy import Policy
from gateway.govern.masking.pseudonyms import Pseudonyms
from gateway.govern.masking.scan import scan

_CASES = [
    json.loads(line)["text"]
    for line in Path(__file__).with_name("cases.jsonl").read_text(encoding="utf-8").splitlines()
]
TEXT = "전화 010-1234-5678, 카드 4111 1111 1111 1111, hong@example.com"


def test_each_kind_as_its_policy_says() -> None:
    policy = Policy.of({"default": "mask", "card": "allow", "email": "pseudonym"})
    pseudonyms = Pseudonyms(b"k", "")
    hidden = Hider(policy, pseudonyms).whole(TEXT)
    stand_in = pseudonyms.of(Kind.EMAIL, "hong@example.com")
    assert hidden == f"전화 [PHONE], 카드 4111 1111 1111 1111, {stand_in}"
    assert Hider(Policy()).whole(TEXT) == TEXT


def test_what_is_blocked_is_named_by_its_kind() -> None:
    with pytest.raises(Blocked) as blocked:
        Hider(Policy.of({"card": "block"})).whole(TEXT)
    assert blocked.value.kind is Kind.CARD


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(_CASES), min_size=5, max_size=20), st.integers(0, PART))
def test_long_texts_are_looked_at_in_parts_without_a_seam(texts: list[str], shift: int) -> None:
    text = "가" * (PART - shift) + " ".join(texts)
    turns = list[int]()
    hider = Hider(Policy.of({"default": "mask"}), between=turns.append)
    assert hider.whole(text) == hider.hidden(scan(text))
    assert sum(turns) == len(text)
    assert max(turns) <= PART


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(_CASES), st.integers(1, 7))
def test_a_text_in_parts_is_hidden_as_the_whole_is(text: str, size: int) -> None:
    hider = Hider(Policy.of({"default": "mask"}))
    hiding = HidingText(hider)
    parts = [hiding.push(text[i : i + size]) for i in range(0, len(text), size)]
    assert "".join(parts) + hiding.finish() == hider.whole(text)
