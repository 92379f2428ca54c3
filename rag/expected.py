"""What an answer looks like, by the kind of question: a span of time, a date, an amount."""

import re

_MONEY = (
    r"\d[\d,.]*\s?(?:원|[만천억]|달러|유로|won|dollars?|euros?|percent|퍼센트|%|krw|usd|점)|"
    r"[$€₩]\s?\d|무료|전액|\bfree\b"
)
_UNIT = r"(?:일|주|개월|달|년|시간|분)"
_SPAN = (
    rf"\d+\s?{_UNIT}|이틀|사흘|\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|half an?)"
    r"[ -](?:\w+ )?(?:minutes?|hours?|days?|weeks?|months?|years?)\b"
)
_BEFORE = rf"\d+\s?{_UNIT} ?(?:전|안|이내)|전날|당일|\b(?:before|within|advance|ahead)\b"
_POINT = (
    r"\d+월|\d{4}년|\d+시|\d+일(?:에|까지|부터|이| ?안| ?이내| ?전| ?후)|매월|매주|매년|"
    r"[월화수목금토일]요일|말일|오전|오후|전날|당일|\d\s?[ap]\.?m|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day|\b(?:january|"
    r"february|march|april|may|june|july|august|september|october|november|december)\b|"
    r"\b\d+(?:st|nd|rd|th)\b|\bdays?\b"
)
_CONDITION = r"[가-힣]면(?=[\s,])|경우|때(?=[\s,에])|\b(?:when|if)\b"
_UNTIL = rf"{_BEFORE}|까지|마감|\b(?:due|until|deadline|by)\b"
_COUNT = r"\d|\b(?:one|two|three|four|five|six|ten|once|twice|half)\b|[한두세네] (?:번|명|개)|이틀"
_SPAN_ASKED = r"how (?:long|many (?:\w+ )?(?:minutes|hours|days|weeks|months|years))"
_EXPECTED = [
    (rf"(?:며칠|몇 ?{_UNIT}) ?(?:전|안|이내)|how (?:soon|early|late)|in advance", _BEFORE),
    (rf"며칠|몇 ?{_UNIT}|기간|{_SPAN_ASKED}", _SPAN),
    (r"얼마나", rf"{_SPAN}|{_MONEY}|{_COUNT}"),
    (r"얼마|금액|비용|몇 ?(?:원|퍼센트|달러)|how much|(?:amount|price|cost|fee)\b", _MONEY),
    (r"언제 .*필요|when do (?:i|we|you) need", _CONDITION),
    (r"언제까지|기한|마감|deadline", _UNTIL),
    (r"언제|몇 ?시|날짜|when\b|what (?:time|day|date)", _POINT),
    (r"몇|최대|한도|how (?:many|often)|maximum|limit", _COUNT),
]
_COMPILED = [
    (re.compile(ask, re.IGNORECASE), re.compile(answer, re.IGNORECASE)) for ask, answer in _EXPECTED
]


def expected_answer(question: str) -> re.Pattern[str] | None:
    """Return what an answer to this kind of question looks like, or None when that is open."""
    return next((answer for ask, answer in _COMPILED if ask.search(question)), None)
