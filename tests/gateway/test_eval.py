"""`naru eval` against the running service."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway_support import Service, client_of
from knowledge import job_worker

from config.errors import ConfigError
from config.postgres import open_pool
from config.settings import EmbeddingSettings
from gateway.commands.eval import Options, evaluate
from gateway.credentials import Credentials
from rag import open_embedders

QUESTIONS = [
    {"question": "망고는 어떤가요?", "answers": [{"source": "망고 소개.md"}]},
    {"question": "색깔이 노란 것은?", "answers": [{"source": "과일/바나나.md"}]},
    {"question": "Which fruit is red?", "answers": [{"source": "apple.md", "contains": "red"}]},
    {"question": "How tall is the Eiffel tower?", "unanswerable": True},
]


@pytest.fixture
def fruit(tmp_path: Path) -> Path:
    (tmp_path / "documents" / "과일").mkdir(parents=True)
    (tmp_path / "documents" / "과일" / "바나나.md").write_text("바나나는 색깔이 노랗다. 노란 것.")
    # Found by its name alone.
    (tmp_path / "documents" / "망고 소개.md").write_text("달고 부드럽다.")
    (tmp_path / "documents" / "apple.md").write_text("The apple is a red fruit.")
    lines = [json.dumps(question) for question in QUESTIONS]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    return tmp_path


@pytest.fixture
async def reading(service: Service, sockets: Path) -> AsyncIterator[None]:
    """The service's job worker."""
    embedders = open_embedders(EmbeddingSettings(), sockets)
    async with (
        await open_pool(service.database, size=2) as pool,
        job_worker(pool, embedders.default),
    ):
        yield
    await embedders.close()


def credentials(service: Service, key: str | None = None) -> Credentials:
    return Credentials(url=service.url, api_key=key or service.key)


async def run(service: Service, path: Path, options: Options) -> int:
    return await asyncio.to_thread(evaluate, credentials(service), path, options)


@pytest.mark.usefixtures("reading")
async def test_a_set_is_measured_in_a_store_of_its_own_that_goes_again(
    service: Service, fruit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with client_of(service, service.key) as client:
        before = [(await client.get(path)).json() for path in ("/v1/vector_stores", "/v1/files")]
        assert await run(service, fruit, Options(as_json=True)) == 0
        after = [(await client.get(path)).json() for path in ("/v1/vector_stores", "/v1/files")]
    assert before == after
    result = json.loads(capsys.readouterr().out)
    metrics = result["metrics"]
    assert (metrics["questions"], metrics["ndcg@10"], metrics["abstained"]) == (4, 1.0, 1.0)
    assert set(result["by_language"]) == {"ko", "en"}
    assert 0 < metrics["latency_p50_ms"] <= metrics["latency_p95_ms"]
    assert result["failed"] == []


@pytest.mark.usefixtures("reading")
async def test_a_floor_not_reached_or_a_drop_fails_the_run(
    service: Service, fruit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps({"metrics": {"mrr": 1.0, "page_accuracy": 0.5}}))
    options = Options(floors=["ndcg@10=1.1", "recall@5=0.5"], baseline=earlier, fit=True)
    assert await run(service, fruit, options) == 1
    printed = capsys.readouterr()
    assert "ndcg@10 is 1.0000, less than 1.1" in printed.err
    assert "page_accuracy dropped from 0.5000 to not measured" in printed.err
    assert "mrr dropped" not in printed.err
    assert "recall@5" in printed.out
    best = '"hybrid_search": {"embedding_weight": 0.5, "text_weight": 0.5}'
    assert f"best for questions in en: {best}" in printed.out


async def test_a_store_is_searched_as_it_is(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(
        json.dumps({"question": "연차 휴가는?", "answers": [{"source": "handbook.md"}]})
    )
    assert await run(service, path, Options(store=service.store, as_json=True)) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["recall@1"] == 1.0


async def test_what_the_user_can_mend_is_told(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps({"question": "?", "answers": [{"source": "a"}]}))
    for options, said in (
        (Options(), "name the vector store"),
        (Options(store="vs_none"), "vs_none"),
        (Options(floors=["mrr"]), "is not METRIC=NUMBER"),
        (Options(baseline=tmp_path / "none"), "can't read"),
        (Options(baseline=path), "is not what an earlier"),
    ):
        with pytest.raises(ConfigError, match=said):
            await run(service, path, options)
