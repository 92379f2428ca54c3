"""The numbers of a text, as values: `1,500,000`, `150만` and `1.5 million` are one number."""

import re
import unicodedata
from collections.abc import Iterator

# With more than one full stop it is a date.
_NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|(?<![\d.])\d+\.\d+(?!\d|\.\d)|\d+")
_LIST_MARK = re.compile(r"^\s*(?:[-*•]\s+)?\d{1,2}[.)]\s", re.MULTILINE)
_CIRCLED = re.compile(r"[①-⑳]")
_SCALES = {"십": 10, "백": 100, "천": 1_000, "만": 10_000, "억": 10**8, "조": 10**12}
_SCALES |= {"k": 1_000, "thousand": 1_000, "million": 10**6, "bn": 10**9, "billion": 10**9}
_SCALE = re.compile(r"\s?(?:([십백천]?)([만억조])|([십백천])|(thousand|million|billion|bn|k)\b)")
# `제15조`, `15조 2항`: Article 15, no trillions. A passage stands for both where it may be either.
_ARTICLE = re.compile(r"(제\d+|(?<![가-힣])제\s\d+|(?<!\d)\d+(?=\s?조\s?(?:제\s?)?\d+\s?항))\s?조")
_MAYBE_ARTICLE = re.compile(r"(?<!\d)(\d+)\s?조(?!\s?(?:원|달러|\d++(?!\s?항)))")
_AFTERNOON = re.compile(r"오후\s?(\d{1,2})시|\b(\d{1,2})(?::00)?\s?p\.?m\b")
_NOON = 12
_EACH = re.compile(
    r"연간|해마다|일주일|[매한](?:년|월|달|주|일)|\b(?:per|each|every|an?|annual(?:ly)?)\b"
)
_DAYS = {"이틀": 2, "사흘": 3, "나흘": 4, "닷새": 5, "엿새": 6, "열흘": 10, "보름": 15}
_COUNTED = re.compile(
    r"(?<![가-힣])(두|세|네|다섯|여섯|일곱|여덟|아홉|열두|열|스무)\s?"
    r"(?:번|명|개|달|살|시간|주|가지|차례|사람|단계|곳|종류|배|자리|시)"
)
_NATIVE = dict(zip("두 세 네 다섯 여섯 일곱 여덟 아홉 열".split(), range(2, 11), strict=True))  # noqa: SIM905 - reads best
_NATIVE |= {"열두": 12, "스무": 20}
_UNITS = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"  # noqa: E501 - one list
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: n for n, word in enumerate(_UNITS.split(), start=2)}
_WORDS |= {word: 10 * n for n, word in enumerate(_TENS.split(), start=2)}
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b(?:-({'|'.join(_UNITS.split()[:8])}|one)\b)?")
_LOOSE: dict[str, float] = {
    "one": 1,
    "once": 1,
    "first": 1,
    "twice": 2,
    "second": 2,
    "third": 3,
    "fourth": 4,
}
_LOOSE |= {"fifth": 5, "sixth": 6, "half": 0.5, "하루": 1, "한": 1, "절반": 0.5}
_LOOSE_WORD = re.compile(r"[a-z]+|하루|절반|(?<![가-힣])한(?=\s?[가-힣])")


def stated(text: str) -> frozenset[float]:
    """Return what a text states as a number; marks of lists and `one` are none."""
    text = _CIRCLED.sub(" ", _LIST_MARK.sub(" ", text))
    return frozenset(_values(unicodedata.normalize("NFKC", text).casefold()))


def standing(text: str) -> frozenset[float]:
    """Return the numbers that a text may be cited for: `third`, `연간`, 15 for `오후 3시`."""
    text = unicodedata.normalize("NFKC", text).casefold()
    found = set(_values(text))
    found.update(_LOOSE[word] for word in _LOOSE_WORD.findall(text) if word in _LOOSE)
    if _EACH.search(text):
        found.add(1)
    hours = [int(korean or english) for korean, english in _AFTERNOON.findall(text)]
    found.update(hour + _NOON for hour in hours if hour < _NOON)
    for number in map(float, _MAYBE_ARTICLE.findall(text)):
        found |= {number, number * _SCALES["조"]}
    return frozenset(found)


def _values(text: str) -> Iterator[float]:
    yield from _numerals(_ARTICLE.sub(r"\1§", text))
    yield from (days for word, days in _DAYS.items() if word in text)
    yield from (_NATIVE[count] for count in _COUNTED.findall(text))
    for tens, unit in _WORD.findall(text):
        yield _WORDS[tens] + (_WORDS.get(unit, 1) if unit else 0)


def _numerals(text: str) -> Iterator[float]:
    """Yield numbers in digits; `1만 2천` is one of them, `9:00` is 9."""
    total, smallest, end = 0.0, 0, -1
    for found in _NUMBER.finditer(text):
        value = float(found[0].replace(",", ""))
        scale, stop = _scale(text, found.end())
        goes_on = end >= 0 and not text[end : found.start()].strip() and scale < smallest
        if end >= 0 and not goes_on:
            yield total
            total = 0.0
        if scale > 1:
            total, smallest, end = total + value * scale, scale, stop
        elif goes_on:
            yield total + value
            total, end = 0.0, -1
        else:
            total, end = 0.0, -1
            if not (found[0] == "00" and text[found.start() - 1 : found.start()] == ":"):
                yield value
    if end >= 0:
        yield total


def _scale(text: str, at: int) -> tuple[int, int]:
    found = _SCALE.match(text, at)
    if found is None:
        return 1, at
    factor = 1
    for word in found.groups(""):
        factor *= _SCALES.get(word, 1)
    return factor, found.end()
