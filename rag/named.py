"""What a question names, a product or a month, and whether the passages are about that one.

By words alone `GX-335` is as good as answered by what is said of `GX-330`.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from rag.asked import asked
from rag.evidence import Evidence
from rag.types import Passage, Retrieval
from rag.words import Text, content_stems, is_code

# `Q2` and `FY26` are written in many ways.
_PERIOD_CODE = re.compile(r"(?:q|h|fy|cy)\d+")
_PERIOD = re.compile(r"(?<![\d.])(\d{1,2})\s?(월|분기)")
_FROM_TO = re.compile(r"\d\s?(?:월|분기)?\s?[~∼–-]\s?\d{1,2}\s?(?:월|분기)|(?:월|분기)부터")
# `4월 반품률`, but neither `4월에 입사하면` nor `4월 1일`.
_PERIOD_ASKED = re.compile(rf"{_PERIOD.pattern}의?\s+(?=[^\W\d])")


class About(NamedTuple):
    """The evidence about what a question names.

    Attributes:
        evidence: All there is, where none is about that: documents may write it in another way.
        is_named: Whether the passages are about it; true where the question names nothing.
    """

    evidence: Sequence[Evidence]
    is_named: bool


def narrowed(retrieval: Retrieval, evidence: Sequence[Evidence]) -> About:
    """Return what of a retrieval's evidence is about what the question names."""
    question = asked(retrieval.read).question
    codes = [s for s in content_stems(question) if is_code(s) and not _PERIOD_CODE.fullmatch(s)]
    held = [_held(codes, passage) for passage in retrieval.passages] if codes else []
    if not set(codes) <= {code for found in held for code in found}:
        return About(evidence, is_named=False)
    if codes:
        most = max(map(len, held))
        # The passage that names it may have nothing to quote: a heading alone.
        evidence = [item for item in evidence if len(held[item.passage]) == most] or evidence
    periods = {(number, unit) for number, unit in _PERIOD_ASKED.findall(question)}
    fitting = [item for item in evidence if not _of_another_period(item, periods)]
    best = max(evidence, key=lambda item: item.coverage, default=None)
    return About(fitting or evidence, best is None or best in fitting)


def _held(codes: Sequence[str], passage: Passage) -> list[str]:
    text = Text(f"{passage.source}\n{passage.heading}\n{passage.content}")
    return [code for code in codes if text.holds(code)]


def _of_another_period(item: Evidence, asked_for: set[tuple[str, str]]) -> bool:
    """Tell whether a sentence is about other months or quarters than those asked for."""
    text = f"{item.sentence.heading} {item.text}"
    units = {unit for _, unit in asked_for}
    stated = {(number, unit) for number, unit in _PERIOD.findall(text) if unit in units}
    return bool(stated) and not stated & asked_for and not _FROM_TO.search(text)
