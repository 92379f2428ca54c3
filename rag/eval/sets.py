"""Sets of questions with what should be found, out of JSONL, SQuAD, BEIR and code retrieval files.

Everything is read into memory: a set is as large as a person can label.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from config.errors import ConfigError

_HANGUL = re.compile(r"[가-힣]")


@dataclass(frozen=True, slots=True)
class Expected:
    """Something that should be found: a document, or the place in it that every field names.

    Attributes:
        source: The document's name in the set, the file's name in a store.
        page: 1-based.
        contains: What the passage must say; case and white space do not matter.
        chunk: A longer text; it is found where the passages so far hold half of it.
        grade: How relevant it is, where the set has grades.
    """

    source: str
    page: int | None = None
    contains: str = ""
    chunk: str = ""
    grade: float = 1.0

    @property
    def whole(self) -> bool:
        """Tell whether any passage of the document will do."""
        return self.page is None and not self.contains and not self.chunk


@dataclass(frozen=True, slots=True)
class Question:
    """A question; nothing is expected of one that the documents do not answer."""

    text: str
    expected: tuple[Expected, ...]
    language: str

    @property
    def unanswerable(self) -> bool:
        """Tell whether the right answer is none."""
        return not self.expected


@dataclass(frozen=True, slots=True)
class EvalSet:
    """Questions, and the documents to look in: name -> content; none where a store has them."""

    questions: Sequence[Question]
    documents: Mapping[str, bytes] = field(default_factory=dict)


def read_set(path: Path, form: str | None = None) -> EvalSet:
    """Read a set; without `form` (one of `FORMATS`) its files say what it is.

    Raises:
        ConfigError: It can't be read; the message names the file and the line.
    """
    form = form or _form_of(path)
    if form not in FORMATS:
        raise ConfigError(f"no format `{form}`: there are {', '.join(FORMATS)}")
    try:
        found = FORMATS[form](path)
    except OSError as error:
        raise ConfigError(f"can't read {error.filename or path}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:
        what = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{path} is no set in the format `{form}`: {what}") from None
    if not found.questions:
        raise ConfigError(f"{path} holds no questions")
    return found


def _form_of(path: Path) -> str:
    if (path / "corpus.jsonl").exists():
        return "beir"
    if (path / "codebase_chunks.json").exists():
        return "code"
    return "squad" if path.suffix == ".json" else "jsonl"


def language_of(text: str) -> str:
    """Return `ko` for a text with Hangul, `en` for any other."""
    return "ko" if _HANGUL.search(text) else "en"


class _Answer(msgspec.Struct):
    source: str
    page: int | None = None
    contains: str = ""
    chunk: str = ""
    grade: float = 1.0


class _Line(msgspec.Struct):
    question: str
    answers: list[_Answer] = []
    relevant: list[_Answer] = []
    unanswerable: bool = False
    language: str = ""


def _read_jsonl(path: Path) -> EvalSet:
    """Read `questions.jsonl` with the files in `documents/` beside it, or one file of questions."""
    if not path.is_dir():
        return EvalSet(list(_jsonl_questions(path)))
    documents = {
        entry.relative_to(path / "documents").as_posix(): entry.read_bytes()
        for entry in sorted((path / "documents").rglob("*"))
        if entry.is_file()
    }
    return EvalSet(list(_jsonl_questions(path / "questions.jsonl")), documents)


def _jsonl_questions(path: Path) -> Iterator[Question]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            read = msgspec.json.decode(line, type=_Line)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None
        answers = [*read.answers, *read.relevant]
        if bool(answers) == read.unanswerable:
            raise ConfigError(
                f"{path}, line {number}: a question has either `answers` or `unanswerable: true`"
            )
        expected = tuple(Expected(a.source, a.page, a.contains, a.chunk, a.grade) for a in answers)
        yield Question(read.question, expected, read.language or language_of(read.question))


def _read_squad(path: Path) -> EvalSet:
    """Read SQuAD 1.1 or 2.0 (KorQuAD): each paragraph is a document, to be found as a whole."""
    names: dict[str, str] = {}
    questions = []
    for article in json.loads(path.read_bytes())["data"]:
        for paragraph in article["paragraphs"]:
            name = names.setdefault(paragraph["context"], f"{len(names) + 1}.txt")
            for item in paragraph["qas"]:
                expected = () if item.get("is_impossible") else (Expected(name),)
                text = item["question"]
                questions.append(Question(text, expected, language_of(text)))
    return EvalSet(questions, {name: context.encode() for context, name in names.items()})


def _read_beir(path: Path) -> EvalSet:
    """Read BEIR's folder (Thakur et al. 2021): corpus, queries and the test split's judgements."""
    documents = {
        f"{row['_id']}.txt": f"{row.get('title', '')}\n\n{row['text']}".strip().encode()
        for row in _rows(path / "corpus.jsonl")
    }
    expected: dict[str, list[Expected]] = {}
    for line in (path / "qrels" / "test.tsv").read_text("utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        if float(grade) > 0:
            expected.setdefault(query, []).append(Expected(f"{document}.txt", grade=float(grade)))
    questions = [
        Question(row["text"], tuple(expected[row["_id"]]), language_of(row["text"]))
        for row in _rows(path / "queries.jsonl")
        if row["_id"] in expected
    ]
    return EvalSet(questions, documents)


def _read_code(path: Path) -> EvalSet:
    """Read the code set of Anthropic's contextual-retrieval cookbook; recall@k is its Pass@k.

    Each of its chunks is a document of its own, so that k counts what it counts there.
    """
    rows = list(_rows(path / "codebase_evaluation_set.jsonl"))
    paths = {
        file["uuid"]: file["meta"]["relative_path"].lstrip("/")
        for row in rows
        for file in row["golden_documents"]
    }
    documents = {}
    for file in json.loads((path / "codebase_chunks.json").read_bytes()):
        uuid = file["original_uuid"]
        for chunk in file["chunks"]:
            name = _chunk_name(paths.get(uuid, uuid), chunk["original_index"])
            documents[name] = chunk["content"].encode()
    questions = [
        Question(
            row["query"],
            tuple(Expected(_chunk_name(paths[u], n)) for u, n in row["golden_chunk_uuids"]),
            "en",
        )
        for row in rows
    ]
    return EvalSet(questions, documents)


def _chunk_name(path: str, index: int) -> str:
    return f"{path} {index}.txt"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines():
        if line.strip():
            yield json.loads(line)


FORMATS: Mapping[str, Callable[[Path], EvalSet]] = {
    "jsonl": _read_jsonl,
    "squad": _read_squad,
    "beir": _read_beir,
    "code": _read_code,
}
