"""Korean without spaces, parted by the words that the documents have.

`육아휴직은며칠까지쓸수있나요` is cut where that costs least. Words that begin one of a document are
cheap, rare ones less so, and so are endings and words that only ask; what is left is dear.
"""

import re
from collections.abc import Iterator, Mapping

from rag import korean

_CHUNK = re.compile(r"\S+")
_HANGUL = re.compile(r"[가-힣]")
_CROWDED = 8  # syllables in a row; few words are so long
_RUN = re.compile(r"\d?[가-힣]{3,}")  # with a digit before it `년` is a year
_LONGEST = 12
_MOST = 80  # syllables of a question: they take 3 ms

# More than an ending, so that `휴가는` stays one word.
_WORD = 1.0
_RAREST = 1.0
_ENDING = 0.3
_UNKNOWN = 2.0
_USUAL = 4  # a longer stem is more likely two
_SINGLE = 4.0  # else the particles would be words


def pieces(text: str) -> set[str]:
    """Return what may be a word of a text's runs; nothing of a text with spaces."""
    return {
        run[0][start:end]
        for run in _runs(text)
        for end in range(len(run[0]) + 1)
        for start in _starts(end)[:-1]
    }


def parted(text: str, known: Mapping[str, float]) -> str:
    """Return a text with spaces between the words of its runs.

    `known` are those of its `pieces` that begin a word of a document, with their inverse document
    frequencies.
    """
    found, end = [], 0
    for run in _runs(text):
        found += [text[end : run.start()], " ".join(_words(run[0], known))]
        end = run.end()
    return "".join([*found, text[end:]])


def _runs(text: str) -> Iterator[re.Match[str]]:
    left = _MOST
    for chunk in _CHUNK.finditer(text):
        if len(_HANGUL.findall(chunk[0])) < _CROWDED:
            continue
        for run in _RUN.finditer(text, *chunk.span()):
            left -= len(run[0])
            if left < 0:
                return
            yield run


def _starts(end: int) -> range:
    return range(max(0, end - _LONGEST), end)


def _words(run: str, known: Mapping[str, float]) -> list[str]:
    """Return the words of a run that cost least together."""
    highest = max(known.values(), default=1.0)
    costs = {word: _WORD + _RAREST * idf / highest for word, idf in known.items()}
    ways: list[tuple[float, list[str]]] = [(0.0, [])]
    for end in range(1, len(run) + 1):
        cut = [(ways[start], run[start:end]) for start in _starts(end)]
        ways.append(min((cost + _cost(last, costs), [*words, last]) for (cost, words), last in cut))
    return ways[-1][1]


def _cost(word: str, costs: Mapping[str, float]) -> float:
    if korean.is_empty(word):
        return _WORD
    return min(
        costs.get(word[:end], _cost_unknown(end)) + _ENDING * (len(word) - end)
        for end in korean.stem_ends(word)
    )


def _cost_unknown(length: int) -> float:
    if length == 1:
        return _SINGLE
    return _UNKNOWN + length + max(0, length - _USUAL)
