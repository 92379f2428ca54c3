"""Which script a text is in, as far as a model's languages care."""

import re
from collections.abc import Iterable

# Above this share of letters it can't read a model's vote is noise: `Docker 설정은 어떻게 하나요`.
_FOREIGN_SHARE = 0.2

_SCRIPTS = {
    "ko": re.compile(r"[가-힣ㄱ-ㆎ]"),
    "ja": re.compile(r"[぀-ヿ一-鿿]"),
    "zh": re.compile(r"[㐀-鿿]"),
    "ru": re.compile(r"[Ѐ-ӿ]"),
    "uk": re.compile(r"[Ѐ-ӿ]"),
    "ar": re.compile(r"[؀-ۿ]"),
    "el": re.compile(r"[Ͱ-Ͽ]"),
    "he": re.compile(r"[֐-׿]"),
    "hi": re.compile(r"[ऀ-ॿ]"),
    "th": re.compile(r"[฀-๿]"),
}
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")


def reads(languages: Iterable[str], text: str) -> bool:
    """Tell whether at most a fifth of the text's letters are foreign to all of the languages."""
    letters = sum(map(str.isalpha, text))
    scripts = {_SCRIPTS.get(language.lower()[:2], _LATIN) for language in languages}
    known = sum(len(pattern.findall(text)) for pattern in scripts | {_LATIN})
    return letters - known <= _FOREIGN_SHARE * letters
