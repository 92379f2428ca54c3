"""What a report says of its figures."""

import json
import math
from pathlib import Path

import pytest
from report import (
    BEGIN,
    END,
    Goal,
    added,
    document,
    goals_table,
    medians,
    number,
    of,
    ratio,
    side_by_side,
    table,
    write_into,
)

FIGURES = {
    "direct": {"requests/s, 0.2 kB": 20_000.0, "ms p50, 500/s": 0.2},
    "Naru": {"requests/s, 0.2 kB": 8_000.0, "ms p50, 500/s": 0.8, "MB idle": 90.0},
    "LiteLLM": {"requests/s, 0.2 kB": 100.0},
}
REPORT = {
    "date": "2026-11-26",
    "machine": {"cores": 2},
    "versions": {"LiteLLM": "1.0"},
    "seconds": 2.0,
    "rounds": 2,
    "missing": {"Portkey": "there is no npm here"},
    "failures": {"Naru, 60/s: 503": 3},
    "figures": FIGURES,
}


def test_the_middle_of_the_rounds_counts():
    assert medians({"Naru": {"x": [1.0, 9.0, 2.0]}}) == {"Naru": {"x": 2.0}}
    assert medians({"Naru": {"x": [0.0, 9.0], "y": [math.nan, 2.0], "z": [0.0]}}) == {
        "Naru": {"x": 9.0, "y": 2.0, "z": 0.0}
    }


def test_ratios_and_what_is_added():
    assert ratio("LiteLLM", "requests/s, 0.2 kB")(FIGURES) == 80
    assert added("ms p50, 500/s")(FIGURES) == pytest.approx(0.6)
    assert math.isnan(ratio("Portkey", "requests/s, 0.2 kB")(FIGURES))
    assert math.isnan(ratio("zero", "x")({"Naru": {"x": 1.0}, "zero": {"x": 0.0}}))


@pytest.mark.parametrize(
    ("measured", "more", "verdict"),
    [
        (0.4, False, "aim reached"),
        (1.0, False, "reached"),
        (2.1, False, "**missed**"),
        (2.1, True, "aim reached"),
        (1.0, True, "reached"),
        (0.4, True, "**missed**"),
        (math.nan, True, "not measured"),
    ],
)
def test_a_goal_is_reached_missed_or_not_measured(measured: float, *, more: bool, verdict: str):
    least, aim = (1.0, 2.0) if more else (2.0, 0.5)
    assert Goal("x", "ms", least, aim, of("Naru", "x"), more=more).verdict(measured) == verdict


@pytest.mark.parametrize(
    ("value", "text"),
    [(12_345.6, "12,346"), (12.345, "12.3"), (0.1234, "0.12"), (-0.5, "-0.50"), (math.nan, "–")],
)
def test_numbers_have_three_digits(value: float, text: str):
    assert number(value) == text


def test_a_table_is_markdown():
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n|---|---:|\n| x | 1 |"


def test_tables_name_every_goal_and_every_gateway():
    goals = goals_table(FIGURES)
    assert "against LiteLLM | 60.0 × | 120 × | 80.0 | reached" in goals
    assert "memory of an idle process | 120 MB | 80.0 MB | 90.0 | reached" in goals
    assert "|  | direct | Naru | LiteLLM |" in side_by_side(FIGURES)


def test_a_report_says_who_is_missing_and_what_failed():
    text = document(REPORT)
    assert "Not measured: Portkey (there is no npm here)." in text
    assert "Naru, 60/s: 503 ×3." in text


def test_the_page_keeps_what_stands_around_the_measured_part(tmp_path: Path):
    page = tmp_path / "performance.md"
    page.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")
    for _ in range(2):
        write_into(page, json.loads(json.dumps(REPORT)))
    text = page.read_text()
    assert text.startswith(f"# Before\n\n{BEGIN}\n\n2026-11-26")
    assert text.endswith(f"{END}\n\nAfter\n")
    assert "old" not in text
    assert text.count("Not measured") == 1
