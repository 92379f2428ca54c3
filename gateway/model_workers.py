"""The workers that hold embedding models: what the parent runs for each."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config.embedded import Command
from config.settings import EmbeddingModelSettings, EmbeddingSettings
from rag.embedding_wire import worker_socket


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


def model_workers(embedding: EmbeddingSettings, sockets: Path) -> Iterator[ModelWorker]:
    """Yield a worker for every model that is not behind a URL; `sockets` is their folder."""
    for name, settings in [("", embedding), *embedding.others.items()]:
        if settings.url is None:
            socket = worker_socket(sockets, name)
            arguments = ["--socket", str(socket), *_arguments(settings)]
            # -P: a folder the operator happens to stand in must not shadow our packages.
            argv = [sys.executable, "-P", "-m", "rag.embedding_worker", *arguments]
            yield ModelWorker(Command(socket.stem, argv), settings.model, socket)


def _arguments(settings: EmbeddingModelSettings) -> list[str]:
    given = {
        "model": settings.model,
        "query-prompt": settings.query_prompt,
        "document-prompt": settings.document_prompt,
        "max-tokens": settings.max_tokens,
    }
    # With `=`, since a prompt may begin with a dash.
    return [f"--{name}={value}" for name, value in given.items() if value is not None]
