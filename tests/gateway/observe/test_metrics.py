import re
from pathlib import Path

from gateway.observe import metrics
from gateway.observe.tally import Counter, Gauge, Histogram, Metric

_DOC = Path(__file__).parents[3] / "docs" / "telemetry.md"


def test_every_metric_stands_in_the_documentation_and_nothing_else_does():
    rows = [line for line in _DOC.read_text().splitlines() if line.startswith("| `naru_")]

    assert rows == [_row(metric) for metric in metrics.ALL]


def test_names_are_unique_and_in_the_style_of_prometheus():
    names = [metric.name for metric in metrics.ALL]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"naru_[a-z_]+[a-z]", name) for name in names)
    assert not any(name.endswith(("_total", "_count", "_sum", "_bucket")) for name in names)


def test_no_label_could_name_who_asked():
    labels = {label for metric in metrics.ALL for label in metric.labels}

    assert not labels & {"tenant", "client", "user", "end_user", "agent", "model", "key", "session"}


def _row(metric: Metric) -> str:
    kind = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}[type(metric)]
    name = metric.name + ("_total" if kind == "counter" else "")
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{name}` | {kind} | {labels} | {metric.help} |"
