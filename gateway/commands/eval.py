"""`naru eval`: how good the search is on a set of questions, and whether it got worse."""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from config.errors import ConfigError
from gateway.commands.eval_abstention import figures, judge_tasks_now, show
from gateway.commands.eval_client import run_set
from gateway.credentials import Credentials
from rag.eval.report import by_language, drops, fit_dense_weights, measure, shortfalls
from rag.eval.sets import read_set


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and what to hold it against.

    Attributes:
        form: The set's format; None: its files say it.
        store: The vector store to search; None: the set's documents in one of their own.
        floors: `METRIC=VALUE`, each.
        baseline: The JSON of an earlier run.
        tolerance: How much less than there is no drop yet.
        fit: Whether to fit the embedding's share.
        fit_abstention: Whether to fit when there is no answer.
        as_json: Whether JSON is printed instead of a table.
    """

    form: str | None = None
    store: str | None = None
    floors: Sequence[str] = ()
    baseline: Path | None = None
    tolerance: float = 0.005
    fit: bool = False
    fit_abstention: bool = False
    as_json: bool = False


def evaluate(credentials: Credentials, path: Path, options: Options) -> int:
    """Run a set, print what it gave, and return 1 where a floor was missed or a metric dropped.

    Raises:
        ConfigError: The set, a floor or the baseline can't be read, or the service does not answer.
    """
    if options.form == "mtrag":
        return _evaluate_tasks(credentials, path, options)
    floors = dict(map(_floor, options.floors))
    earlier = _read_baseline(options.baseline) if options.baseline else {}
    questions = read_set(path, options.form)
    asked = asyncio.run(run_set(credentials, questions, options.store))
    metrics = measure(asked)
    result: dict[str, Any] = {
        "set": path.name,
        "documents": len(questions.documents),
        "metrics": metrics,
        "by_language": by_language(asked),
    }
    if options.fit:
        result["dense_weight"] = fit_dense_weights(asked)
    if options.fit_abstention:
        result["abstention"] = figures([one.judged for one in asked if one.judged])
    failed = shortfalls(metrics, floors) + drops(metrics, earlier, options.tolerance)
    _print(result | {"failed": failed}, as_json=options.as_json)
    for reason in failed:
        typer.echo(reason, err=True)
    return 1 if failed else 0


def _evaluate_tasks(credentials: Credentials, path: Path, options: Options) -> int:
    """Judge a set of tasks with passages of their own; floors are of the best threshold."""
    floors = dict(map(_floor, options.floors))
    result = judge_tasks_now(credentials, path)
    best = result["abstention"]["best"]
    failed = shortfalls(best, floors)
    if options.as_json:
        typer.echo(json.dumps(result | {"failed": failed}, ensure_ascii=False, indent=2))
    else:
        show(result["abstention"])
        for kind, counts in result["tasks"].items():
            typer.echo(f"{kind}: {counts['unanswered']} of {counts['tasks']} left unanswered")
    for reason in failed:
        typer.echo(reason, err=True)
    return 1 if failed else 0


def _floor(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        floor = float(value)
    except ValueError:
        floor = math.nan
    if not name or math.isnan(floor):
        raise ConfigError(f"`--min {text}` is not METRIC=NUMBER, such as ndcg@10=0.94")
    return name, floor


def _read_baseline(path: Path) -> Mapping[str, float]:
    try:
        metrics = json.loads(path.read_bytes())["metrics"]
        return {str(name): float(value) for name, value in metrics.items()}
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ConfigError(f"{path} is not what an earlier `naru eval --json` printed") from None


def _print(result: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
        return
    columns = {"all": result["metrics"]} | result["by_language"]
    if len(columns) == 2:
        columns.pop("all")
    table = Table(title=f"{result['set']}, {result['documents']} documents")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for name in result["metrics"]:
        table.add_row(name, *(_cell(name, column.get(name)) for column in columns.values()))
    Console().print(table)
    if "abstention" in result:
        show(result["abstention"])
    for language, weight in result.get("dense_weight", {}).items():
        pair = f'"embedding_weight": {weight:g}, "text_weight": {1 - weight:g}'
        typer.echo(f'best for questions in {language}: "hybrid_search": {{{pair}}}')


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name == "questions":
        return f"{value:.0f}"
    return f"{value:.1f}" if name.endswith("_ms") else f"{value:.4f}"
