"""Where a text's tokens lie, for whoever cuts it: the embedding model's own, without the model.

The worker that has loaded a model leaves its tokenizer beside its socket; this module reads it in
Rust, so that a process that only cuts needs no torch.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer

ASSUMED_LIMIT = 512
"""Tokens that a model is taken to read where nobody says more: what most open ones do."""

Span = tuple[int, int]

# An encoding takes some 200 bytes per token: a book is not encoded in one piece.
_PIECE_CHARS = 50_000
# Words of Latin letters by threes; of every other letter, digit and sign, each.
_ESTIMATED = re.compile(r"[A-Za-z]{1,3}|\S")


class TokenizerSource(msgspec.Struct, frozen=True):
    """What `open_tokenizer` needs, in a form that goes to another process.

    Attributes:
        file: A `tokenizer.json`; without one, tokens are estimated.
        limit: Tokens the model reads of one text, special ones and prompt included; None takes the
            file's own (`truncation.max_length`), else `ASSUMED_LIMIT`.
        prompt: What is put before every document, and takes its share of the limit.
    """

    file: str | None = None
    limit: int | None = None
    prompt: str = ""


class Tokenizer(Protocol):
    """Counts as an embedding model does."""

    @property
    def limit(self) -> int:
        """Most tokens, as `spans` counts them, that the model reads of one document."""

    def spans(self, text: str) -> list[Span]:
        """Return where each token starts and ends, in characters, without special tokens.

        A character of several tokens is there as often; white space is in none, or in the next.
        """


def open_tokenizer(source: TokenizerSource) -> Tokenizer:
    """Return the tokenizer of a source. Blocks, for large vocabularies up to a second.

    Raises:
        ValueError: The file is missing or is no tokenizer.
    """
    if not source.file:
        return _Estimate(source)
    try:
        return _ModelTokenizer(_rust().from_file(source.file), source)
    except Exception as error:  # noqa: BLE001 - the binding raises nothing narrower
        raise ValueError(f"{source.file} is no readable tokenizer: {error}") from None


def _rust() -> "type[RustTokenizer]":
    # Four megabytes that a web worker mostly does not need.
    from tokenizers import Tokenizer  # noqa: PLC0415

    return Tokenizer


def parse_tokenizer(content: str) -> Tokenizer:
    """Return the tokenizer of a `tokenizer.json`'s content; an estimate of none."""
    source = TokenizerSource()
    return _ModelTokenizer(_rust().from_str(content), source) if content else _Estimate(source)


def document_tokenizer(rust: "RustTokenizer", limit: int, prompt: str) -> str:
    """Return a model's tokenizer as `TokenizerSource` wants it in a file.

    `limit` is what the model reads, prompt included; 0 where there is no limit.
    """
    rust.no_padding()
    rust.no_truncation()
    if limit:
        taken = len(rust.encode(prompt, add_special_tokens=False).ids) if prompt else 0
        rust.enable_truncation(max(limit - taken, 8))
    return rust.to_str()


class _ModelTokenizer:
    """A `tokenizer.json`."""

    def __init__(self, rust: "RustTokenizer", source: TokenizerSource) -> None:
        self._rust = rust
        given = (self._rust.truncation or {}).get("max_length")
        self._rust.no_truncation()
        self._rust.no_padding()
        special = self._rust.num_special_tokens_to_add(is_pair=False)
        total = source.limit or given or ASSUMED_LIMIT
        self.limit = max(1, total - special - len(self.spans(source.prompt)))

    def spans(self, text: str) -> list[Span]:
        found: list[Span] = []
        for start, end in _pieces(text):
            encoding = self._rust.encode(text[start:end], add_special_tokens=False)
            found += [(start + left, start + right) for left, right in encoding.offsets]
        return found


class _Estimate:
    """Rather too many tokens than too few, where the model's tokenizer is not known.

    Three Latin letters are a token, and so is every other character but white space. Vocabularies
    of 30,000 words and more have fewer for usual text: 4 to 5 letters of English, 1.5 to 2 Hangul.
    """

    def __init__(self, source: TokenizerSource) -> None:
        # Two special tokens: a beginning and an end.
        total = source.limit or ASSUMED_LIMIT
        self.limit = max(1, total - 2 - len(self.spans(source.prompt)))

    def spans(self, text: str) -> list[Span]:
        return [match.span() for match in _ESTIMATED.finditer(text)]


def _pieces(text: str) -> Iterator[Span]:
    """Cut at line ends where there are some, else between words, else anywhere."""
    start = 0
    while len(text) - start > _PIECE_CHARS:
        most = start + _PIECE_CHARS
        end = max(text.rfind("\n", start, most), text.rfind(" ", start, most)) + 1
        if end <= start:
            end = most
        yield start, end
        start = end
    if start < len(text):
        yield start, len(text)
