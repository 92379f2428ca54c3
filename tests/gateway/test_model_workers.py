"""What the parent runs for the models of the settings."""

from pathlib import Path

from config.settings import EmbeddingSettings, RerankerSettings
from gateway.model_workers import model_workers


def test_every_local_model_has_a_worker_of_its_own() -> None:
    settings = EmbeddingSettings.model_validate(
        {
            "others": {
                "e5": {"model": "/models/e5", "query_prompt": "-q ", "max_tokens": 300},
                "far": {"model": "m", "url": "http://127.0.0.1:9/v1"},
            }
        }
    )
    reranker = RerankerSettings(model="/models/bge", backend="torch")
    first, second, third = model_workers(settings, reranker, Path("/run/naru"), Path("/var/models"))
    assert (first.model, first.socket) == ("all-MiniLM-L6-v2", Path("/run/naru/embedding.sock"))
    assert second.command.name == "embedding-e5"
    assert second.command.argv[4:] == [
        "--socket=/run/naru/embedding-e5.sock",
        "--model=/models/e5",
        "--backend=auto",
        "--cache=/var/models",
        "--max-tokens=300",
        "--query-prompt=-q ",
    ]
    assert third.command.argv[4:] == [
        "--socket=/run/naru/reranker.sock",
        "--model=/models/bge",
        "--backend=torch",
        "--cache=/var/models",
        "--rerank",
    ]


def test_nothing_runs_for_a_reranker_that_is_elsewhere_or_not_wanted() -> None:
    far = {"model": "m", "url": "http://127.0.0.1:9/v1"}
    embedding = EmbeddingSettings.model_validate(far)
    for reranker in (RerankerSettings(), RerankerSettings.model_validate(far)):
        assert not list(model_workers(embedding, reranker, Path("/run"), Path("/var")))
