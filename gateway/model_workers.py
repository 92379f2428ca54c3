"""The workers that hold embedding models and the reranker: what the parent runs for each."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config.embedded import Command
from config.settings import EmbeddingModelSettings, EmbeddingSettings, RerankerSettings
from rag.embedding_wire import reranker_socket, worker_socket


@dataclass(frozen=True, slots=True)
class ModelWorker:
    """A worker to start.

    Attributes:
        model: What it is to load.
        socket: Where it listens once it has.
    """

    command: Command
    model: str
    socket: Path


def model_workers(
    embedding: EmbeddingSettings, reranker: RerankerSettings, sockets: Path, cache: Path
) -> Iterator[ModelWorker]:
    """Yield a worker for every model that is not behind a URL.

    `sockets` is their folder, `cache` where models made ready for OpenVINO are kept.
    """
    for name, settings in [("", embedding), *embedding.others.items()]:
        if settings.url is None:
            yield _worker(settings, settings.model, worker_socket(sockets, name), cache)
    if reranker.model and reranker.url is None:
        yield _worker(reranker, reranker.model, reranker_socket(sockets), cache)


def _worker(
    settings: EmbeddingModelSettings | RerankerSettings, model: str, socket: Path, cache: Path
) -> ModelWorker:
    given: dict[str, object] = {
        "socket": socket,
        "model": model,
        "backend": settings.backend,
        "cache": cache,
        "max-tokens": settings.max_tokens,
    }
    if isinstance(settings, EmbeddingModelSettings):
        given["query-prompt"] = settings.query_prompt
        given["document-prompt"] = settings.document_prompt
    # With `=`, since a prompt may begin with a dash.
    arguments = [f"--{name}={value}" for name, value in given.items() if value is not None]
    if isinstance(settings, RerankerSettings):
        arguments.append("--rerank")
    # -P: a folder the operator happens to stand in must not shadow our packages.
    argv = [sys.executable, "-P", "-m", "rag.embedding_worker", *arguments]
    return ModelWorker(Command(socket.stem, argv), model, socket)
