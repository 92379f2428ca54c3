"""What the parent runs for the models of the settings."""

from pathlib import Path

from config.settings import EmbeddingSettings
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
    first, second = model_workers(settings, Path("/run/naru"))
    assert (first.model, first.socket) == ("all-MiniLM-L6-v2", Path("/run/naru/embedding.sock"))
    assert second.command.name == "embedding-e5"
    assert second.command.argv[4:] == [
        "--socket",
        "/run/naru/embedding-e5.sock",
        "--model=/models/e5",
        "--query-prompt=-q ",
        "--max-tokens=300",
    ]
