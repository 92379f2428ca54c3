"""No licence is installed that nobody has agreed to, and the parts list names what is shipped."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import licenses  # noqa: E402
import sbom  # noqa: E402

sys.path.remove(str(SCRIPTS))


@pytest.mark.parametrize("name", sorted(licenses.installed(licenses.SHIPPED)))
def test_what_the_image_ships_is_allowed(name: str) -> None:
    found = licenses.license_of(name)
    assert licenses.allowed(found), f"{name} is under {found}"


def test_what_only_tests_and_engines_need_is_allowed_or_excused() -> None:
    names = licenses.installed(licenses.OTHERS)
    refused = {name for name in names if not licenses.allowed(licenses.license_of(name))}
    assert refused <= licenses.EXCUSED.keys()


def test_nobody_is_excused_in_vain() -> None:
    listed = {
        line.split("==")[0]
        for name in (*licenses.OTHERS, *licenses.SHIPPED)
        for line in (licenses.REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    }
    assert licenses.EXCUSED.keys() <= listed


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0", False),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("MIT AND LGPL-2.1-only", False),
        ("(MIT OR GPL-2.0-only) AND BSD-3-Clause", True),
        ("unknown", False),
        ("", False),
    ],
)
def test_an_expression_is_read(expression: str, allowed: bool) -> None:
    assert licenses.allowed(expression) is allowed


def test_the_parts_list_leaves_out_what_is_not_shipped() -> None:
    def part(name: str) -> dict[str, str]:
        return {"name": name, "bom-ref": f"{name}==1"}

    names = ["MsgSpec", "pytest", "litestar"]
    bill = {
        "metadata": {"component": part("naru-gateway")},
        "components": [part(name) for name in names],
        "dependencies": [
            {"ref": "naru-gateway==1", "dependsOn": ["litestar==1", "pytest==1"]},
            {"ref": "litestar==1", "dependsOn": ["MsgSpec==1"]},
            {"ref": "pytest==1", "dependsOn": []},
        ],
    }
    shipped = sbom.shipped(bill)
    assert [each["name"] for each in shipped["components"]] == ["MsgSpec", "litestar"]
    assert shipped["dependencies"] == [
        {"ref": "naru-gateway==1", "dependsOn": ["litestar==1"]},
        {"ref": "litestar==1", "dependsOn": ["MsgSpec==1"]},
    ]
