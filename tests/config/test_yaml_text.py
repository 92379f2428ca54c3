"""YAML in which a key stands twice."""

import pytest
import yaml

from config.yaml_text import read_yaml


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2", []),
        ("server: {port: 8080, port: 9090}", ["server.port: stands twice, in lines 1 and 1"]),
        ("models:\n  a: [b]\nmodels:\n  c: [d]", ["models: stands twice, in lines 1 and 3"]),
        (
            "- a: 1\n  a: 2\n- b: {c: 1,\n c: 2}",
            ["0.a: stands twice, in lines 1 and 2", "1.b.c: stands twice, in lines 3 and 4"],
        ),
        ("base: &b {x: 1, y: 2}\nmore: {<<: *b, x: 3}", []),
        ("a: &a [1, *a]", []),
        ("", []),
    ],
)
def test_a_key_stands_once_in_its_mapping(text: str, told: list[str]) -> None:
    assert read_yaml(text)[1] == told


def test_the_values_are_those_of_yaml() -> None:
    assert read_yaml("a: {b: [1, x]}")[0] == {"a": {"b": [1, "x"]}}
    assert read_yaml("")[0] is None
    with pytest.raises(yaml.YAMLError):
        read_yaml("a: [")
