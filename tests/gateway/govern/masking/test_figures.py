"""How well personal data is found, on five sets."""

import json
from pathlib import Path
from typing import Any

import pytest
from masking_figures import found, measured


@pytest.mark.parametrize(
    ("name", "least", "cases"), [("cases", 0.98, 60), ("held_out", 0.93, 15), ("blind", 0.95, 60)]
)
def test_nearly_all_is_found_and_hardly_anything_else(name: str, least: float, cases: int) -> None:
    for kind, figures in measured(name).items():
        assert figures.precision >= least, kind
        assert figures.recall >= least, kind
        assert figures.right + figures.missed >= cases, kind
        assert figures.near_misses >= cases, kind


@pytest.mark.parametrize("kind", ["bank_account", "passport"])
def test_what_stands_under_a_head_is_found(kind: str) -> None:
    figures = measured("columns")[kind]
    # A number in the line behind one that says 계좌 is taken for an account.
    assert figures.precision >= 0.93
    assert figures.recall >= 0.99


_REPORTED = [
    json.loads(line)
    for line in Path(__file__).with_name("reported.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("case", _REPORTED, ids=lambda case: case["text"])
def test_what_was_reported_as_a_fault_is_none_any_more(case: dict[str, Any]) -> None:
    there = {(each["type"], each["start"], each["end"]) for each in case["found"]}
    assert found(case["text"]) == there
