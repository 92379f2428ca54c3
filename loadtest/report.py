"""Writes a benchmark's figures down: the targets, and everybody side by side."""

import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Figures = Mapping[str, Mapping[str, float]]
"""Gateway -> name of the figure -> its value."""

NARU, DIRECT = "Naru", "direct"
BEGIN, END = "<!-- measured by make bench -->", "<!-- /measured -->"


def medians(rounds: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, float]]:
    """Return the middle of each figure's rounds, those left out in which nothing was answered."""
    return {
        gateway: {
            name: statistics.median([v for v in values if v and not math.isnan(v)] or values)
            for name, values in figures.items()
        }
        for gateway, figures in rounds.items()
    }


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be reached.

    Attributes:
        value: Of the figures, or NaN where it was not measured.
        more: Whether more is better.
    """

    what: str
    unit: str
    least: float
    aim: float
    value: Callable[[Figures], float]
    more: bool = False

    def verdict(self, measured: float) -> str:
        """Return how far it was reached."""
        if measured != measured:  # noqa: PLR0124 - not a number
            return "not measured"
        sign = -1 if self.more else 1
        if sign * measured <= sign * self.aim:
            return "aim reached"
        return "reached" if sign * measured <= sign * self.least else "**missed**"


def of(gateway: str, name: str) -> Callable[[Figures], float]:
    """Return a gateway's figure."""
    return lambda figures: figures.get(gateway, {}).get(name, float("nan"))


def ratio(peer: str, name: str) -> Callable[[Figures], float]:
    """Return how many times the peer's figure Naru's is."""
    ours, theirs = of(NARU, name), of(peer, name)
    return lambda figures: ours(figures) / (theirs(figures) or float("nan"))


def added(name: str, gateway: str = NARU) -> Callable[[Figures], float]:
    """Return what the way through the gateway adds to the same figure without it."""
    through, direct = of(gateway, name), of(DIRECT, name)
    return lambda figures: through(figures) - direct(figures)


_RATE = "requests/s, 0.2 kB"
GOALS = (
    *(
        Goal(f"{_RATE}, against {peer}", "×", least, aim, ratio(peer, _RATE), more=True)
        for peer, least, aim in (
            ("LiteLLM", 60, 120),
            ("Portkey", 6, 12),
            ("TensorZero", 0.5, 1.0),
            ("vllm-router", 0.25, 0.6),
        )
    ),
    Goal("added at 500/s, p50", "ms", 1.0, 0.5, added("ms p50, 500/s")),
    Goal("added at 500/s, p99", "ms", 3.0, 1.0, added("ms p99, 500/s")),
    Goal("CPU per chunk, 50 streams", "µs", 80, 45, of(NARU, "CPU µs/chunk, 50 streams")),
    Goal("CPU per chunk, 200 streams", "µs", 80, 45, of(NARU, "CPU µs/chunk, 200 streams")),
    *(
        Goal(
            f"added to the first token, {streams} streams, p50",
            "ms",
            least,
            aim,
            added(f"first ms p50, among {streams} streams"),
        )
        for streams, least, aim in ((50, 2, 1), (200, 5, 2))
    ),
    Goal("memory of an idle process", "MB", 120, 80, of(NARU, "MB idle")),
    Goal("memory of a silent stream", "kB", 40, 25, of(NARU, "kB/stream, 8000 silent")),
    Goal("an agent's turn beside the model, p50", "ms", 60, 25, of(NARU, "agent turn ms p50")),
    Goal(
        "`/health/live` beside 8,000 streams, p99",
        "ms",
        50,
        20,
        of(NARU, "health ms p99, 8000 silent"),
    ),
)


def number(value: float) -> str:
    """Return it with three digits that count; a dash where there is none."""
    if value != value:  # noqa: PLR0124 - not a number
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def goals_table(figures: Figures) -> str:
    """Return what was to be reached, and what was."""
    rows = []
    for goal in GOALS:
        measured = goal.value(figures)
        limits = (f"{number(goal.least)} {goal.unit}", f"{number(goal.aim)} {goal.unit}")
        rows.append((goal.what, *limits, number(measured), goal.verdict(measured)))
    return table(("everything on, one core", "at least", "aim", "measured", ""), rows)


def side_by_side(figures: Figures) -> str:
    """Return every figure of every gateway, as it was measured."""
    gateways = list(figures)
    names = list(dict.fromkeys(name for each in figures.values() for name in each))
    rows = [(name, *(number(of(each, name)(figures)) for each in gateways)) for name in names]
    return table(("", *gateways), rows)


def ratios(figures: Figures) -> str:
    """Return how Naru stands to each of the others, in what counts most."""
    peers = [name for name in figures if name not in {NARU, DIRECT}]
    ours = figures.get(NARU, {})
    names = [n for n in ours if n.startswith(("requests/s", "chunks/s", "CPU"))]
    rows = [(name, *(number(ratio(peer, name)(figures)) for peer in peers)) for name in names]
    return table(("Naru's figure, as a multiple of", *peers), rows)


def machine() -> dict[str, Any]:
    """Return what it was measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    busy = os.getloadavg()[1]
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load before": round(busy, 2),
    }


def document(report: Mapping[str, Any]) -> str:
    """Return the measured part of `docs/performance.md`."""
    figures = report["figures"]
    said = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    versions = ", ".join(f"{name} {value}" for name, value in report["versions"].items())
    how = f"{report['seconds']:g} s a measurement, medians of {report['rounds']} rounds"
    parts = [
        f"{report['date']}, {how}. Machine: {said}. Versions: {versions}.",
        goals_table(figures),
        ratios(figures),
        side_by_side(figures),
    ]
    for title, lines in (
        ("Not measured: ", [f"{name} ({why})" for name, why in report["missing"].items()]),
        ("Not answered as it should be: ", [f"{k} ×{v}" for k, v in report["failures"].items()]),
    ):
        parts += [title + "; ".join(lines) + "."] if lines else []
    return "\n\n".join(parts)


def write_into(page: Path, report: Mapping[str, Any]) -> None:
    """Put the measured part into the page, between its marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = f"{before}{BEGIN}\n\n{document(report)}\n\n{END}{after}"
    page.write_text(text, encoding="utf-8")


def save(path: Path, report: Mapping[str, Any]) -> None:
    """Write the report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
