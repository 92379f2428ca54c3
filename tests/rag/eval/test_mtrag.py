"""Tasks that bring their passages along."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from config.errors import ConfigError
from gateway.agents.rewrite import rewrite
from rag import EmbedderUnavailable, assess
from rag.embed import Use
from rag.embedding_wire import Vector
from rag.eval.mtrag import Retrievals, read_tasks
from rag.nearness import dot
from rag.testing import InMemoryEmbedder

TASKS = [
    {
        "Collection": "fruit",
        "input": [
            {"speaker": "user", "text": "Which colour has the apple?"},
            {"speaker": "agent", "text": "Red."},
            {"speaker": "user", "text": "And the banana?"},
        ],
        "contexts": [
            {"document_id": "a", "text": "The colour of the apple is red."},
            {"document_id": "b", "text": "\nThe colour of the banana is yellow."},
        ],
        "answerability": ["ANSWERABLE"],
    },
    {
        "Collection": "fruit",
        "input": [{"speaker": "user", "text": "Who sells pears?"}],
        "contexts": [],
        "answerability": ["UNANSWERABLE"],
    },
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(map(json.dumps, TASKS)))
    return path


async def test_a_task_is_searched_in_its_own_passages(path: Path) -> None:
    tasks = read_tasks(path)
    assert [task.kind for task in tasks] == ["answerable", "unanswerable"]
    embedder = InMemoryEmbedder()
    retrievals = Retrievals(tasks, embedder, rewrite)
    found = await retrievals.of(tasks[0])
    assert found.question.startswith("And the banana? (")
    contents = {passage.chunk_id: passage.content for passage in found.passages}
    assert contents["b"] == "The colour of the banana is yellow."
    assert set(contents) == {"a", "b"}
    assert found.passages[0].similarity is not None
    assert found.dense_weight == 0.5
    nothing = await retrievals.of(tasks[1])
    assert (nothing.passages, nothing.dense_weight) == ((), 0.0)
    assert (await assess(nothing, embedder)).code == "nothing_found"


class Strict(InMemoryEmbedder):
    """Refuses what is longer than it reads, as a service does."""

    async def embed(self, texts: Sequence[str], kind: Use = "document") -> list[Vector]:
        if any(len(text.split()) > 32 for text in texts):
            raise EmbedderUnavailable("too long")
        return await super().embed(texts, kind)


async def test_a_passage_longer_than_the_model_reads_is_as_near_as_its_nearest_chunk(
    tmp_path: Path,
) -> None:
    filler = "Trains leave from the northern platform every hour. " * 40
    told = "The colour of the banana is yellow."
    rows = [{**TASKS[0], "contexts": [{"document_id": "a", "text": f"{filler}{told} {filler}"}]}]
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    (task,) = read_tasks(path)
    embedder = Strict(max_tokens=34)
    (passage,) = (await Retrievals([task], embedder, rewrite).of(task)).passages
    (filled,) = await embedder.embed([filler[:100]])
    (asked,) = await embedder.embed(["And the banana?"], "query")
    assert passage.similarity is not None
    assert passage.similarity > dot(asked, filled)
    assert passage.content == task.passages["a"]


def test_what_is_no_set_of_tasks_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    with pytest.raises(ConfigError, match="can't read"):
        read_tasks(path)
    for text in ("{}", "[]", "nonsense", '{"Collection": "a", "input": [], "contexts": 1}'):
        path.write_text(text)
        with pytest.raises(ConfigError, match="no set in the format `mtrag`"):
            read_tasks(path)
