"""How far each sentence of the found passages holds what the question asks about."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from rag.sentences import Sentence, sentences
from rag.types import Passage, Retrieval
from rag.words import Term, Text, coverage, question_terms, words

_HEADING_SHARE = 0.8
_PASSAGE_SHARE = 0.45
_PASSAGES = 20  # more would hold the event loop up


@dataclass(frozen=True, slots=True)
class Evidence:
    """A sentence weighed against the question.

    Attributes:
        passage: Index into the retrieval's passages.
        sentence: Where it stands in the passage's content.
        text: Verbatim.
        held: Per term of the question, how far the sentence itself holds it, 0 to 1.
        coverage: Weighted share of the terms held, those of its surroundings at a discount.
        echo: Share of the question's words it has unchanged, little ones included.
    """

    passage: int
    sentence: Sentence
    text: str
    held: tuple[float, ...]
    coverage: float
    echo: float


def weigh(retrieval: Retrieval) -> tuple[tuple[Term, ...], list[Evidence]]:
    """Return the question's terms and the best passages' quotable sentences, in their order."""
    terms = question_terms(retrieval.read, retrieval.term_weights)
    asked = frozenset(words(retrieval.read))
    found = [
        evidence
        for index, passage in enumerate(retrieval.passages[:_PASSAGES])
        for evidence in _weigh_passage(index, passage, asked, terms)
    ]
    return terms, found


def _weigh_passage(
    index: int, passage: Passage, asked: frozenset[str], terms: tuple[Term, ...]
) -> list[Evidence]:
    whole = _held(Text(f"{passage.heading}\n{passage.content}"), terms)
    above = _held(Text(passage.heading), terms)
    under: dict[str, tuple[float, ...]] = {}
    found = []
    for sentence in sentences(passage.content):
        text = passage.content[sentence.start : sentence.end]
        looked_into = Text(text)
        held = _held(looked_into, terms)
        near = under.get(sentence.heading)
        if near is None:
            near = under[sentence.heading] = _held(Text(_over(passage, sentence)), terms)
        lent = [
            max(h, _HEADING_SHARE * max(n, a), _PASSAGE_SHARE * w)
            for h, n, a, w in zip(held, near, above, whole, strict=True)
        ]
        echo = looked_into.echoes(asked)
        found.append(Evidence(index, sentence, text, held, coverage(terms, lent), echo))
    return found


def _over(passage: Passage, sentence: Sentence) -> str:
    """Return a sentence's heading; the file's name too where none is, or a table's columns alone.

    Beside headings it would lend its words (`Employee Handbook`) to all that the file says.
    """
    if passage.heading or (sentence.heading and "|" not in sentence.heading):
        return sentence.heading
    return f"{PurePosixPath(passage.source).stem}\n{sentence.heading}"


def _held(text: Text, terms: tuple[Term, ...]) -> tuple[float, ...]:
    return tuple(text.holds(term.stem) for term in terms)
