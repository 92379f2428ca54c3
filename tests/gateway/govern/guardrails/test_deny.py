"""Phrases that must not be said."""

import unicodedata

import pytest
from pydantic import ValidationError

from config.guardrails import DenySettings, LengthSettings
from gateway.govern.guardrails.deny import Deny
from gateway.govern.guardrails.length import Length
from gateway.govern.guardrails.parts import Part
from gateway.govern.guardrails.verdict import Action, Verdict

PHRASES = ("Acme", "담배", "trade secret", "사내 기밀", "c++")
FILLER = "연차 휴가는 연간 15일이다. The office opens at eight. "


def judged(text: str) -> Verdict:
    return Deny(DenySettings(phrases=PHRASES)).check([Part("input", "user", text)])


@pytest.mark.parametrize(
    "text",
    [
        "acme",
        "ACME의 주가",
        "담배를 산다",
        "담배는요?",
        "담배에서도",
        "그건 담배입니다.",
        unicodedata.normalize("NFD", "담배가 좋다"),
        "trade  secret",
        "Trade-Secret!",
        "a\u200bc\u200bme",
        "ａｃｍｅ",
        "사내 기밀을",
        "I write C++.",
    ],
)
@pytest.mark.parametrize("before", [0, 2040, 2046, 1_000_000])
def test_a_phrase_is_found_at_any_place(text: str, before: int) -> None:
    padded = f"{(FILLER * (before // len(FILLER) + 1))[:before]} {text}"
    assert judged(padded) == Verdict(1.0, Action.BLOCK, "input")


@pytest.mark.parametrize(
    "text", ["acmeology", "macme", "담배꽁초", "금연담배", "trade", "기밀", "c+"]
)
def test_a_part_of_another_word_is_none(text: str) -> None:
    assert judged(text) == Verdict()


BEHIND = (
    "이며 이고 인데 이지만 이었다 였다 였습니다 이었으며 로서 로써 만큼 뿐 뿐이다 이든 든 대로 다 "
    "며 고 까지만 지만 니까 라서 라면 거나 이라서 이므로 므로 임 임을 이기 이기에 인데요 이네요 "
    "예요 인지 처럼 까지입니다 커녕 말고 에게서도 한테서 야말로 일지도 였던 네요 이면 일까요"
)


@pytest.mark.parametrize("behind", BEHIND.split())
def test_particles_and_forms_of_to_be_may_follow(behind: str) -> None:
    assert judged(f"그것은 담배{behind} 값이 오른다").score == 1
    deny = Deny(DenySettings(phrases=("기밀",)))
    if behind.startswith(("이", "인", "임", "일")):
        assert deny.check([Part("input", "user", f"이것은 기밀{behind} 중요하다")]).score == 1


@pytest.mark.parametrize(
    ("phrase", "word"),
    [
        ("대출", "대출이자"),
        ("마감", "마감일"),
        ("업무", "업무일지"),
        ("전화", "전화기"),
        ("소비", "소비자"),
        ("인사", "인사고과"),
        ("투표", "투표지"),
        ("참", "참고"),
        ("창", "창고"),
        ("기밀", "기밀문서"),
        ("대외비", "대외비고란"),
        ("건강", "건강이상"),
    ],
)
def test_a_longer_noun_is_another_word(phrase: str, word: str) -> None:
    deny = Deny(DenySettings(phrases=(phrase,)))
    assert deny.check([Part("input", "user", f"그 {word} 및 {word}를 본다")]) == Verdict()


def test_a_thousand_phrases_are_one_search() -> None:
    deny = Deny(DenySettings(phrases=tuple(f"word{i} x{i}" for i in range(1000))))
    assert deny.check([Part("input", "user", FILLER * 200)]) == Verdict()
    assert deny.check([Part("input", "user", FILLER * 200 + "word999 x999")]).score == 1


@pytest.mark.parametrize("phrase", ["", " ", "\u200b", "…", "x" * 101])
def test_a_phrase_that_would_hit_everything_is_refused(phrase: str) -> None:
    with pytest.raises(ValidationError):
        DenySettings(phrases=(phrase,))


def test_what_users_say_is_counted_together() -> None:
    said = [
        Part("messages[0].content", "system", "x" * 100),
        Part("messages[1].content", "user", "가" * 6),
        Part("messages[2].content", "user", "나" * 5),
    ]
    length = Length(LengthSettings(max_chars=10, action="local"))
    assert length.check(said) == Verdict(1.0, Action.LOCAL, "messages[2].content")
    assert length.check(said[:2]) == Verdict()
