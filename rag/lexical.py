"""The lexical leg: text to tokens, tokens to BM25 vectors.

A document's vector holds BM25's term-frequency part, a question's the inverse document
frequencies; their inner product is the score (Robertson and Zaragoza 2009, eq. 3.15). Terms are
hashed to dimensions of pgvector's `sparsevec`: no dictionary has to be kept or agreed upon.
"""

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from rag.lexicon import Statistics

_DIMENSIONS = 1_000_000_000  # the most a sparsevec may have

_K1 = 0.8
_B = 0.5
# Tokens of a usual chunk. The true mean would change with every document, and all vectors with it.
_REFERENCE_LENGTH = 300

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_HANGUL = "가-힣"
_HAN_KANA = "぀-ヿ㐀-䶿一-鿿豈-﫿"
_RUN = re.compile(rf"([{_HANGUL}]+)|([{_HAN_KANA}]+)|[^\W_{_HANGUL}{_HAN_KANA}]+")


def tokens(text: str) -> list[str]:
    """Return the words of a text, in no particular order, as often as they occur.

    A Hangul word comes with its prefixes of two syllables and more: Korean particles and endings
    are suffixes, so that `휴가는` and `휴가를` meet in `휴가`. Han and Kana come as bigrams, a name
    out of code (`maxChunkSize`, `max_chunk_size`) both whole and in its parts.
    """
    text = unicodedata.normalize("NFKC", text)
    found = list(_name_parts(text))
    for match in _RUN.finditer(text.casefold()):
        hangul, han_kana = match.groups()
        if hangul:
            found += _prefixes(hangul)
        elif han_kana:
            found += [han_kana[i : i + 2] for i in range(max(1, len(han_kana) - 1))]
        else:
            found.append(match[0])
    return found


def document_vector(text: str) -> str:
    """Return a document's BM25 vector as the text of a `sparsevec`."""
    counts = Counter(term_id(token) for token in tokens(text))
    length = sum(counts.values())
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
    return _sparsevec({term_id(word): weight for word, weight in weights.items()}.items())


def term_id(token: str) -> int:
    """Return a token's dimension; the same in every process and release."""
    return zlib.crc32(token.encode("utf-8", "surrogatepass")) % _DIMENSIONS + 1


def _prefixes(word: str) -> list[str]:
    return [word[:end] for end in range(2, len(word) + 1)] or [word]


def _name_parts(text: str) -> Iterator[str]:
    for name in _NAME.findall(text):
        bare = name.strip("_")
        if "_" in bare:
            yield name.casefold()
        if len(humps := _HUMP.split(bare)) > 1:
            for hump in humps:
                yield from (part for part in hump.casefold().split("_") if part)


def _sparsevec(elements: Iterable[tuple[int, float]]) -> str:
    pairs = ",".join(f"{term}:{value:.5g}" for term, value in elements)
    return f"{{{pairs}}}/{_DIMENSIONS}"
