"""`naru eval --fit-abstention` and `--format mtrag`: when to say that there is no answer."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import AnyHttpUrl, SecretStr
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from config.errors import ConfigError
from config.settings import EmbeddingSettings
from gateway.agents.rewrite import rewrite
from gateway.commands.remote import fetch_token
from gateway.credentials import Credentials
from rag import Embedder, EmbedderUnavailable, Retrieval, Verdict, assess, extract, open_embedder
from rag.answerable import THRESHOLD
from rag.eval.abstention import Judged, at_thresholds, best_threshold, fit
from rag.eval.mtrag import Retrievals, Task, read_tasks

_ANSWERED = ("answerable", "partial")
_READ_TOKENS = 256
"""Of one text: hardly a model reads less, the packaged one as much."""


def figures(judged: Sequence[Judged]) -> dict[str, Any]:
    """Return precision and recall of abstaining by threshold, and what is best on this set.

    Raises:
        ConfigError: The set has not both kinds of questions.
    """
    if len({one.answerable for one in judged}) != 2:
        raise ConfigError("--fit-abstention needs questions with an answer and some without")
    rows = at_thresholds(judged, THRESHOLD)
    return {
        "threshold_now": THRESHOLD,
        "by_threshold": [asdict(row) for row in rows],
        "best": asdict(best_threshold(rows)),
        "constants": fit(judged),
    }


def show(found: Mapping[str, Any]) -> None:
    """Print it as a table."""
    table = Table(title="abstention: below the threshold there is no answer")
    for name in ("threshold", "precision", "recall", "declined"):
        table.add_column(name, justify="right")
    for row in found["by_threshold"]:
        mark = " (now)" if row["threshold"] == found["threshold_now"] else ""
        rest = [f"{row[name]:.3f}" for name in ("precision", "recall", "declined")]
        table.add_row(f"{row['threshold']:g}{mark}", *rest)
    console = Console()
    console.print(table)
    console.print(f'best for this set: "answer": {{"threshold": {found["best"]["threshold"]:g}}}')
    for signals, constants in found["constants"].items():
        console.print(f"fitted over {signals}: {constants}")


async def judge_tasks(credentials: Credentials, path: Path) -> tuple[list[Judged], dict[str, Any]]:
    """Judge every task with the passages it brings along; embeddings are the service's.

    Returns the verdicts of those that have an answer or none (an underspecified question wants one
    back), and by kind of task how many there are, and how many the extractive
    engine left unanswered at the best threshold.

    Raises:
        ConfigError: The set can't be read, or the service does not answer.
    """
    tasks = read_tasks(path)
    key = credentials.api_key or await fetch_token(credentials, [])
    url = AnyHttpUrl(f"{credentials.url}/v1")
    settings = EmbeddingSettings(url=url, api_key=SecretStr(key), max_tokens=_READ_TOKENS)
    embedder = open_embedder(settings, Path())
    try:
        return await _judge_all(tasks, embedder)
    except EmbedderUnavailable as error:
        raise ConfigError(f"the service embeds nothing: {error}") from None
    finally:
        await embedder.close()


async def _judge_all(
    tasks: Sequence[Task], embedder: Embedder
) -> tuple[list[Judged], dict[str, Any]]:
    retrievals = Retrievals(tasks, embedder, rewrite)
    judged: list[Judged] = []
    found: list[Retrieval] = []
    with Progress(console=Console(stderr=True)) as progress:
        for task in progress.track(tasks, description="judging"):
            found.append(await retrievals.of(task))
            judged.append(_judged(task, await assess(found[-1], embedder)))
        clear = [
            one
            for task, one in zip(tasks, judged, strict=True)
            if task.kind in (*_ANSWERED, "unanswerable")
        ]
        threshold = best_threshold(at_thresholds(clear, THRESHOLD)).threshold
        left: Counter[str] = Counter()
        each = [*zip(tasks, found, judged, strict=True)]
        for task, retrieval, one in progress.track(each, description="quoting"):
            left[task.kind] += one.confidence < threshold or not await extract(
                retrieval, embedder, judged=True, threshold=threshold
            )
    return clear, _by_kind(tasks, left)


def judge_tasks_now(credentials: Credentials, path: Path) -> dict[str, Any]:
    """Return the figures of a set of tasks.

    Raises:
        ConfigError: The set can't be read, or the service does not answer.
    """
    judged, kinds = asyncio.run(judge_tasks(credentials, path))
    return {"set": path.name, "tasks": kinds, "abstention": figures(judged)}


def _judged(task: Task, verdict: Verdict) -> Judged:
    signals = verdict.signals.known if verdict.signals else {}
    return Judged(task.kind in _ANSWERED, verdict.confidence, signals)


def _by_kind(tasks: Sequence[Task], left: Counter[str]) -> dict[str, Any]:
    counts = Counter(task.kind for task in tasks)
    return {kind: {"tasks": n, "unanswered": left[kind]} for kind, n in sorted(counts.items())}
