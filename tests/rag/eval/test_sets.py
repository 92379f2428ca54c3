"""Sets in the usual formats, and what is said of broken ones."""

import json
from pathlib import Path

import pytest

from config.errors import ConfigError
from rag.eval.sets import EvalSet, Expected, Question, read_set


def write(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return path


def test_a_file_of_questions(tmp_path: Path) -> None:
    path = write(
        tmp_path / "set.jsonl",
        {"question": "연차는?", "answers": [{"source": "a.pdf", "page": 3, "contains": "15일"}]},
        {"question": "leave?", "relevant": [{"source": "b.md"}], "language": "de", "id": 7},
        {"question": "moon?", "unanswerable": True},
    )
    assert read_set(path) == EvalSet(
        [
            Question("연차는?", (Expected("a.pdf", page=3, contains="15일"),), "ko"),
            Question("leave?", (Expected("b.md"),), "de"),
            Question("moon?", (), "en"),
        ]
    )


def test_a_folder_brings_its_documents(tmp_path: Path) -> None:
    write(tmp_path / "questions.jsonl", {"question": "?", "answers": [{"source": "in/a.md"}]})
    write(tmp_path / "documents" / "in" / "a.md", "text")
    assert read_set(tmp_path).documents == {"in/a.md": b'"text"'}


def test_squad_gives_each_paragraph_as_a_document(tmp_path: Path) -> None:
    asked = {"question": "언제?", "id": "1", "answers": []}
    paragraphs = [
        {"context": "하나", "qas": [asked]},
        {"context": "둘", "qas": [{**asked, "is_impossible": True}]},
        {"context": "하나", "qas": [asked]},
    ]
    found = read_set(write(tmp_path / "dev.json", {"data": [{"paragraphs": paragraphs}]}))
    assert found.documents == {"1.txt": "하나".encode(), "2.txt": "둘".encode()}
    assert [q.expected for q in found.questions] == [(Expected("1.txt"),), (), (Expected("1.txt"),)]


def test_beir_gives_the_judged_queries(tmp_path: Path) -> None:
    write(
        tmp_path / "corpus.jsonl",
        {"_id": "7", "title": "Corals", "text": "They bleach."},
        {"_id": "8", "text": "Algae."},
    )
    write(tmp_path / "queries.jsonl", {"_id": "q", "text": "heat"}, {"_id": "r", "text": "cold"})
    judged = tmp_path / "qrels" / "test.tsv"
    judged.parent.mkdir()
    judged.write_text("query-id\tcorpus-id\tscore\nq\t7\t2\nq\t8\t0\n")
    found = read_set(tmp_path)
    assert found.documents == {"7.txt": b"Corals\n\nThey bleach.", "8.txt": b"Algae."}
    assert found.questions == [Question("heat", (Expected("7.txt", grade=2.0),), "en")]


def test_the_code_set_gives_each_chunk_as_a_document(tmp_path: Path) -> None:
    chunks = [{"original_index": n, "content": f"part {n}"} for n in range(2)]
    (tmp_path / "codebase_chunks.json").write_text(
        json.dumps([{"original_uuid": "u", "chunks": chunks}])
    )
    file = {"uuid": "u", "meta": {"relative_path": "/src/a.rs"}}
    row = {"query": "what?", "golden_documents": [file], "golden_chunk_uuids": [["u", 1]]}
    write(tmp_path / "codebase_evaluation_set.jsonl", row)
    found = read_set(tmp_path)
    assert found.documents == {"src/a.rs 0.txt": b"part 0", "src/a.rs 1.txt": b"part 1"}
    assert found.questions == [Question("what?", (Expected("src/a.rs 1.txt"),), "en")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"question": "?"}', "line 1: a question has either"),
        ('{"question": "?", "answers": [{"source": "a"}], "unanswerable": true}', "line 1"),
        ('\n{"question": 5}', "line 2: Expected `str`"),
        ("nonsense", "line 1: JSON is malformed"),
        ("", "holds no questions"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_set(path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can.t read .*none\.jsonl: No such file"):
        read_set(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="no format `xml`: there are jsonl, squad, beir, code"):
        read_set(tmp_path, "xml")
    path = write(tmp_path / "dev.json", {"version": 1})
    with pytest.raises(ConfigError, match="no set in the format `squad`: `data` is missing"):
        read_set(path)
