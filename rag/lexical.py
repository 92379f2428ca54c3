"""The lexical leg: text to tokens, tokens to BM25 vectors.

A document's vector holds BM25's term-frequency part, a question's the inverse document
frequencies; their inner product is the score (Robertson and Zaragoza 2009, eq. 3.15). Terms are
hashed to dimensions of pgvector's `sparsevec`: no dictionary has to be kept or agreed upon.
"""

import functools
import math
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping

from rag import english, korean
from rag.lexicon import Statistics

_DIMENSIONS = 1_000_000_000  # the most a sparsevec may have

_K1 = 0.7
_B = 0.6
# Words of a usual chunk. The true mean would change with every document, and all vectors with it.
_REFERENCE_LENGTH = 130
_HEAD_SHARE = 0.25

_KNOWN_PREFIX = 0.9  # of a prefix's weight, what the next longer one has said already
_FUNCTION_WORD = 0.1  # not 0: a question may hold nothing else

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_HANGUL = "가-힣"
_HAN_KANA = "぀-ヿ㐀-䶿一-鿿豈-﫿"
_RUN = re.compile(rf"([{_HANGUL}]+)|([{_HAN_KANA}]+)|[^\W_{_HANGUL}{_HAN_KANA}]+")
_SHORT_THEN_NEXT = re.compile(rf"(?<![{_HANGUL}])([{_HANGUL}]{{1,2}}) (?=([{_HANGUL}]))")
_CACHED_STEMS = 1 << 16


def tokens(text: str) -> list[str]:
    """Return the words of a text, in no particular order, as often as they occur.

    A Hangul word comes with its prefixes of two syllables and more: Korean particles and endings
    are suffixes, so that `휴가는` and `휴가를` meet in `휴가`. A short one also comes with the next
    syllable: `연차 휴가` meets `연차휴가` in `연차휴`. An English word comes as its stem, Han and
    Kana as bigrams, a name out of code (`maxSize`, `max_size`) whole and in parts.
    """
    return [token for word in _words(text) for token in word]


def document_vector(text: str, head: str = "") -> str:
    """Return a document's BM25 vector as the text of a `sparsevec`.

    `head` is what the document says first, where the text is a later part of it: it counts less.
    """
    counts: dict[int, float] = {}
    length = 0.0
    for part, share in ((text, 1.0), (head, _HEAD_SHARE)):
        for word in _words(part):
            length += share
            for term in map(term_id, word):
                counts[term] = counts.get(term, 0.0) + share
    norm = _K1 * (1 - _B + _B * length / _REFERENCE_LENGTH)
    return _sparsevec((term, n * (_K1 + 1) / (n + norm)) for term, n in counts.items())


def term_weights(words: Iterable[str], statistics: Statistics) -> dict[str, float]:
    """Return each word's inverse document frequency; a word of no document has the highest."""
    weights = {}
    for word in words:
        df = min(statistics.frequencies.get(term_id(word), 0), statistics.chunks)
        weights[word] = math.log(1 + (statistics.chunks - df + 0.5) / (df + 0.5))
    return weights


def query_vector(weights: Mapping[str, float]) -> str:
    """Return a question's vector as the text of a `sparsevec`."""
    return _sparsevec(query_weights(weights).items())


def query_weights(weights: Mapping[str, float]) -> dict[int, float]:
    """Return what each of a question's terms counts.

    A Hangul word counts once, not once per prefix: each prefix adds what it says beyond the one
    before it. Function words and those that only ask count next to nothing.
    """
    return {term_id(word): _asked(word, weights) for word in weights}


def most_possible(weights: Mapping[str, float]) -> float:
    """Return the score that no document can exceed: all of the question's terms, over and over."""
    return (_K1 + 1) * sum(query_weights(weights).values())


def _asked(word: str, weights: Mapping[str, float]) -> float:
    if word in _function_stems() or korean.ASKING.match(word):
        return _FUNCTION_WORD * weights[word]
    prefixed = len(word) > 2 and "가" <= word[-1] <= "힣"
    before = weights.get(word[:-1], 0.0) if prefixed else 0.0
    return max(weights[word] - _KNOWN_PREFIX * before, 0.0)


def term_id(token: str) -> int:
    """Return a token's dimension; the same in every process and release."""
    return zlib.crc32(token.encode("utf-8", "surrogatepass")) % _DIMENSIONS + 1


def _words(text: str) -> list[list[str]]:
    """Return each word of the text as the tokens it comes as."""
    text = unicodedata.normalize("NFKC", text)
    found = [[part] for part in _name_parts(text)]
    found += [[short + after] for short, after in _SHORT_THEN_NEXT.findall(text)]
    for match in _RUN.finditer(text.casefold()):
        hangul, han_kana = match.groups()
        if hangul:
            found.append(_prefixes(hangul))
        elif han_kana:
            found.append([han_kana[i : i + 2] for i in range(max(1, len(han_kana) - 1))])
        else:
            found.append([_stem(match[0])])
    return found


def _prefixes(word: str) -> list[str]:
    return [word[:end] for end in range(2, len(word) + 1)] or [word]


def _name_parts(text: str) -> Iterator[str]:
    for name in _NAME.findall(text):
        bare = name.strip("_")
        if "_" in bare:
            yield name.casefold()
        if len(humps := _HUMP.split(bare)) > 1:
            for hump in humps:
                yield from (_stem(part) for part in hump.casefold().split("_") if part)


@functools.lru_cache(_CACHED_STEMS)
def _stem(word: str) -> str:
    """Return an English word's stem, any other word as it is."""
    if not (word.isascii() and word.isalpha()):
        return word
    # With it come thirty languages, 3 MB: only those pay who search, or read documents.
    from snowballstemmer.english_stemmer import EnglishStemmer  # noqa: PLC0415

    # A stemmer of its own: it holds the word it works on, and documents are read in threads.
    return str(EnglishStemmer().stemWord(word)) or word


@functools.cache
def _function_stems() -> frozenset[str]:
    return frozenset(_stem(word) for word in english.FUNCTION_WORDS)


def _sparsevec(elements: Iterable[tuple[int, float]]) -> str:
    pairs = ",".join(f"{term}:{value:.5g}" for term, value in elements)
    return f"{{{pairs}}}/{_DIMENSIONS}"
