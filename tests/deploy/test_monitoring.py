"""Dashboards and alerts: every metric they ask for exists, and the alerts fire when they should."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from gateway.observe import metrics
from gateway.observe.tally import Counter, Histogram

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "naru.rules.yaml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool (apt: prometheus)")

# What others measure: DCGM's default counters, node_exporter, the kubelet, Prometheus itself.
OTHERS = {
    "up",
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_XID_ERRORS",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "node_cpu_seconds_total",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
    "node_network_receive_bytes_total",
    "node_network_transmit_bytes_total",
}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels(dashboard: Path) -> Iterator[tuple[str, str]]:
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def expressions() -> list[tuple[str, str]]:
    found = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    for dashboard in DASHBOARDS:
        found += [(f"{dashboard.stem}: {title}", expr) for title, expr in panels(dashboard)]
    return found


def selectors(node: Any) -> Iterator[Any]:
    """Every selector of an expression, wherever it stands."""
    match node:
        case promql_parser.VectorSelector():
            yield node
        case promql_parser.MatrixSelector():
            yield node.vector_selector
        case promql_parser.BinaryExpr():
            yield from selectors(node.lhs)
            yield from selectors(node.rhs)
        case promql_parser.Call():
            for argument in node.args:
                yield from selectors(argument)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            pass
        case _:
            yield from selectors(node.expr)


def parse(expr: str) -> list[Any]:
    plain = expr.replace("$__rate_interval", "5m")
    return list(selectors(promql_parser.parse(plain)))


def ours() -> dict[str, set[str]]:
    """Each series of ours, and its labels."""
    found: dict[str, set[str]] = {}
    for metric in metrics.ALL:
        labels = set(metric.labels)
        match metric:
            case Counter():
                found[f"{metric.name}_total"] = labels
            case Histogram():
                found |= {f"{metric.name}_{part}": labels for part in ("sum", "count")}
                found[f"{metric.name}_bucket"] = labels | {"le"}
            case _:
                found[metric.name] = labels
    return found


def vllms() -> set[str]:
    """Each series that the installed vLLM's source names."""
    vllm = importlib.util.find_spec("vllm")  # importing it takes as long as the rest together
    if vllm is None or vllm.submodule_search_locations is None:
        pytest.skip("no vLLM")
    names = {
        name
        for file in (Path(vllm.submodule_search_locations[0]) / "v1").rglob("*.py")
        for name in re.findall('"(vllm:[a-z0-9_]+)"', file.read_text())
    }
    assert len(names) > 50
    return names | {name + end for name in names for end in ("_total", "_bucket", "_sum", "_count")}


@pytest.mark.parametrize(("where", "expr"), expressions())
def test_every_metric_exists(where: str, expr: str) -> None:
    known, recorded = ours(), {rule["record"] for rule in rules() if "record" in rule}
    for selector in parse(expr):
        name = selector.name
        if name.startswith("naru_"):
            asked = {matcher.name for matcher in selector.matchers.matchers}
            assert asked <= known[name] | {"instance", "job"}, name
        elif not name.startswith("vllm:"):
            assert name in OTHERS | recorded, name


def test_every_metric_of_vllm_exists() -> None:
    asked = {each.name for _, expr in expressions() for each in parse(expr)}
    theirs = {name for name in asked if name.startswith("vllm:")}
    assert len(theirs) > 10
    assert theirs <= vllms()


def test_what_is_grouped_by_is_a_label() -> None:
    """A `by` that names no label makes one line of all, in silence."""
    known = ours()
    for where, expr in expressions():
        for by, metric in re.findall(r"by \(([^)]*)\) \((?:\w+\()?(naru_\w+)", expr):
            asked = {label.strip() for label in by.split(",")} - {"le", "instance"}
            assert asked <= known[metric], where


def test_no_metric_of_ours_is_on_no_dashboard() -> None:
    asked = {each.name for _, expr in expressions() for each in parse(expr)}
    for metric in metrics.ALL:
        assert any(name.startswith(metric.name) for name in asked), metric.name


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_loaded(dashboard: Path) -> None:
    board = json.loads(dashboard.read_text())
    assert board["uid"] == dashboard.stem
    assert board["tags"] == ["naru"]
    identifiers = [panel["id"] for panel in board["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    variables = {each["name"] for each in board["templating"]["list"]} | {"__rate_interval"}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(panel)))
        assert used <= variables, panel["title"]


def test_there_is_a_dashboard_for_each_level() -> None:
    assert [path.stem for path in DASHBOARDS] == [
        "naru-ai",
        "naru-application",
        "naru-infrastructure",
    ]


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    tested = yaml.safe_load((RULES.parent / "naru.rules.test.yaml").read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tested
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    alerts = [rule for rule in rules() if "alert" in rule]
    assert fired == {rule["alert"] for rule in alerts}
    for rule in alerts:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", "naru.rules.yaml"],
        ["check", "config", "--syntax-only", "prometheus.yaml"],
        ["test", "rules", "naru.rules.test.yaml"],
    ],
    ids=" ".join,
)
def test_prometheus_says_so_itself(arguments: list[str]) -> None:
    assert PROMTOOL
    ran = subprocess.run(
        [PROMTOOL, *arguments],
        cwd=RULES.parent,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
