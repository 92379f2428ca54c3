"""How long a text is, in tokens of the model that reads it."""

import functools
import re
from collections.abc import Iterable

import msgspec

from rag.scripts import reads
from rag.tokenizer import Tokenizer, TokenizerSource, open_tokenizer

_PARAGRAPH = re.compile(r"(?:[^\n]++\n?)++")
# What a token is taken to be where no model reads the text: OpenAI's rule of thumb for English.
_UNREAD_CHARS = 4
_LONG_TOKEN_CHARS = 32


class RulerSource(msgspec.Struct, frozen=True):
    """What `open_ruler` needs, in a form that goes to another process."""

    tokenizer: TokenizerSource
    languages: tuple[str, ...]
    reserved: int = 0
    """Tokens that are kept free for a written context."""


def open_ruler(source: RulerSource) -> "Ruler":
    """Return the ruler of a model. Blocks, for large vocabularies up to a second.

    Raises:
        ValueError: The tokenizer's file is missing or is none.
    """
    return Ruler(open_tokenizer(source.tokenizer), source.languages, source.reserved)


class Ruler:
    """Measures in tokens of an embedding model; in characters by fours what it does not read."""

    def __init__(self, tokenizer: Tokenizer, languages: Iterable[str], reserved: int = 0) -> None:
        self._tokenizer = tokenizer
        self._languages = tuple(languages)
        self.reserved = min(reserved, tokenizer.limit // 2)
        self.limit = tokenizer.limit - self.reserved
        self.clip = functools.lru_cache(maxsize=64)(self._clip)

    def reads(self, text: str) -> bool:
        """Tell whether the text is in a script of the model's languages."""
        return reads(self._languages, text)

    def starts(self, text: str) -> list[int]:
        """Return where each token starts, in characters."""
        return self.measure(text)[0]

    def measure(self, text: str) -> tuple[list[int], bool]:
        """Return where each token starts, and whether all of them are the model's own."""
        found: list[int] = []
        own = True
        for match in _PARAGRAPH.finditer(text):
            if not self.reads(match[0]):
                found += range(match.start(), match.end(), _UNREAD_CHARS)
                own = False
                continue
            first, spans = match.start(), self._tokenizer.spans(match[0])
            # WordPiece makes any word of more than a hundred letters one that it does not know.
            if max((end - start for start, end in spans), default=0) > _LONG_TOKEN_CHARS:
                spans = [part for span in spans for part in _parts(*span)]
            found += [first + start for start, _ in spans]
        return found, own

    def count(self, text: str) -> int:
        """Return how many tokens a text is."""
        return len(self.starts(text))

    def fits(self, text: str) -> bool:
        """Tell whether the model reads all of the text, or none of it."""
        return not self.reads(text) or len(self._tokenizer.spans(text)) <= self.limit

    def _clip(self, text: str, tokens: int, *, end: bool = False) -> str:
        """Return the beginning of a text, or its end, up to so many of the model's tokens."""
        spans = self._tokenizer.spans(text)
        if len(spans) <= tokens:
            return text
        return text[spans[-tokens][0] :] if end else text[: spans[tokens][0]]


def _parts(start: int, end: int) -> list[tuple[int, int]]:
    if end - start <= _LONG_TOKEN_CHARS:
        return [(start, end)]
    return [(place, place) for place in range(start, end, _UNREAD_CHARS)]
