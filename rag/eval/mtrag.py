"""MTRAG-UN (IBM, Apache-2.0): multi-turn tasks with the passages to answer from, or none.

Its tasks bring their passages along, so that no store is searched: each becomes a retrieval of
its own, scored as the search does, with the words counted over its collection.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.errors import ConfigError
from rag.chunk import Cut, chunk_pages, embedded_texts
from rag.embed import Embedder
from rag.fusion import Voted, fuse
from rag.lexical import document_vector, query_weights, term_weights, tokens
from rag.lexicon import Statistics
from rag.nearness import dot
from rag.ruler import Ruler, RulerSource, open_ruler
from rag.types import Page, Passage, Retrieval

_DENSE_WEIGHT = 0.5
_AT_ONCE = 32

Rewrite = Callable[[str, Sequence[str]], str]
"""Makes a follow-up a question of its own: the question, and the user's before it."""


@dataclass(frozen=True, slots=True)
class Task:
    """A turn to answer.

    Attributes:
        collection: Where its passages are from.
        asked: What the user said, the question last.
        passages: Texts to answer from, by id.
        kind: `answerable`, `partial`, `underspecified` or `unanswerable`.
    """

    collection: str
    asked: Sequence[str]
    passages: Mapping[str, str]
    kind: str


def read_tasks(path: Path) -> list[Task]:
    """Read a file of tasks, one a line.

    Raises:
        ConfigError: It can't be read, or is none.
    """
    try:
        return [_task(line) for line in path.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is no set in the format `mtrag`: {error!r}") from None


def _task(line: bytes) -> Task:
    row = json.loads(line)
    return Task(
        collection=row["Collection"],
        asked=[said["text"] for said in row["input"] if said["speaker"] == "user"],
        passages={found["document_id"]: found["text"].strip() for found in row["contexts"]},
        kind=row["answerability"][0].lower(),
    )


class Retrievals:
    """The tasks' passages as a search would have given them."""

    def __init__(self, tasks: Sequence[Task], embedder: Embedder, rewrite: Rewrite) -> None:
        self._embedder = embedder
        self._rewrite = rewrite
        self._terms: dict[str, dict[int, float]] = {}
        self._statistics: dict[str, Statistics] = {}
        for collection in {task.collection for task in tasks}:
            texts = {
                text for t in tasks if t.collection == collection for text in t.passages.values()
            }
            self._terms |= {text: _terms(text) for text in texts}
            counts: dict[int, int] = {}
            for term in (term for text in texts for term in self._terms[text]):
                counts[term] = counts.get(term, 0) + 1
            self._statistics[collection] = Statistics(len(texts), counts)

    async def of(self, task: Task) -> Retrieval:
        """Return one task's retrieval.

        Raises:
            EmbedderUnavailable: The model can't be reached.
        """
        question = self._rewrite(task.asked[-1], task.asked[:-1])
        weights = term_weights(dict.fromkeys(tokens(question)), self._statistics[task.collection])
        asked = query_weights(weights)
        knows = self._embedder.knows(question) and bool(task.passages)
        cosines = await self._cosines(question, [*task.passages.values()]) if knows else []
        passages = [
            _passage(id_, text, _score(asked, self._terms[text]), cosines[n] if knows else None)
            for n, (id_, text) in enumerate(task.passages.items())
        ]
        share = _DENSE_WEIGHT if knows else 0.0
        ranked = sorted(fuse([Voted(passages, share)], "average"), key=lambda p: -p.score)
        return Retrieval(question, tuple(ranked), weights, share)

    async def _cosines(self, question: str, texts: Sequence[str]) -> list[float]:
        """Return how near each text is, or the nearest of its chunks where it is too long."""
        source = RulerSource(await self._embedder.tokenizer(), self._embedder.languages)
        ruler = open_ruler(source)
        chunks = [(n, chunk) for n, text in enumerate(texts) for chunk in _chunks(text, ruler)]
        (asked,) = await self._embedder.embed([question], "query")
        found = [-1.0] * len(texts)
        for at in range(0, len(chunks), _AT_ONCE):
            some = chunks[at : at + _AT_ONCE]
            vectors = await self._embedder.embed([chunk for _, chunk in some])
            for (n, _), vector in zip(some, vectors, strict=True):
                found[n] = max(found[n], dot(asked, vector))
        return found


def _chunks(text: str, ruler: Ruler) -> list[str]:
    return embedded_texts(chunk_pages([Page(None, text)], Cut(ruler.limit), ruler), "", ruler)


def _terms(text: str) -> dict[int, float]:
    """Return a document's vector as numbers by term."""
    pairs = document_vector(text).partition("}")[0].strip("{").split(",")
    return {int(term): float(value) for term, _, value in (p.partition(":") for p in pairs if p)}


def _score(asked: Mapping[int, float], held: Mapping[int, float]) -> float:
    return sum(weight * held.get(term, 0.0) for term, weight in asked.items())


def _passage(id_: str, text: str, lexical: float, similarity: float | None) -> Passage:
    return Passage(
        chunk_id=id_,
        document_id=id_,
        store_id="",
        source=id_,
        page=None,
        start=0,
        end=len(text),
        content=text,
        heading="",
        score=0.0,
        lexical=lexical,
        similarity=similarity,
    )
