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
    r"\d+\s?(?:월|일|시|분|년)|매월|매주|매년|[월화수목금토일]요일|말일|오전|오후|전날|당일|"
    r"\d\s?[ap]\.?m|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day|\b(?:january|february|march|april|"
    r"may|june|july|august|september|october|november|december)\b|\b\d+(?:st|nd|rd|th)\b|\bdays?\b"
)
_COUNT = r"\d|\b(?:one|two|three|four|five|six|ten|once|twice|half)\b|[한두세네] (?:번|명|개)|이틀"
_SPAN_ASKED = r"how (?:long|many (?:\w+ )?(?:minutes|hours|days|weeks|months|years))"
_EXPECTED = [
    (rf"(?:며칠|몇 ?{_UNIT}) ?(?:전|안|이내)|how (?:soon|early|late)|in advance", _BEFORE),
    (rf"며칠|몇 ?{_UNIT}|기간|{_SPAN_ASKED}", _SPAN),
    (r"얼마나", rf"{_SPAN}|{_MONEY}|{_COUNT}"),
    (r"얼마|금액|비용|몇 ?(?:원|퍼센트|달러)|how much|(?:amount|price|cost|fee)\b", _MONEY),
    (r"언제|몇 ?시|날짜|기한|when\b|what (?:time|day|date)|deadline", _POINT),
    (r"몇|최대|한도|how (?:many|often)|maximum|limit", _COUNT),
]
_COMPILED = [
    (re.compile(ask, re.IGNORECASE), re.compile(answer, re.IGNORECASE)) for ask, answer in _EXPECTED
]


def expected_answer(question: str) -> re.Pattern[str] | None:
    """Return what an answer to this kind of question looks like, or None when that is open."""
    return next((answer for ask, answer in _COMPILED if ask.search(question)), None)
