"""The Dockerfile, linted and read; docs/deployment.md says what was run of it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HADOLINT = Path(sys.executable).with_name("hadolint")


def stages() -> dict[str, str]:
    parts = re.split(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)[1:]
    return {name: body for _, name, body in zip(*[iter(parts)] * 3, strict=True)}


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint's wheel is for Linux on x86-64")
def test_hadolint_finds_no_fault() -> None:
    command = [str(HADOLINT), "--failure-threshold", "style", "Dockerfile"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_nothing_runs_as_root() -> None:
    for name in ("gateway", "gpu"):
        assert stages()[name].rstrip().endswith("USER 10001:10001")
    assert re.search(r"useradd --uid 10001 .*--shell /usr/sbin/nologin", stages()["base"])


def test_the_gateway_s_image_has_no_build_tools() -> None:
    """It starts from the bare base, and what it copies has neither pip nor setuptools."""
    assert re.search(r"^FROM base AS gateway$", DOCKERFILE, re.MULTILINE)
    assert "pip uninstall --yes pip setuptools" in stages()["build"]
    assert not re.search("gcc|build-essential", stages()["base"] + stages()["gateway"])


def test_the_default_target_is_the_gateway() -> None:
    assert list(stages())[-1] == "gateway"


def test_packages_are_installed_by_hash() -> None:
    installs = re.findall(r"pip install ([^&\n]+)", DOCKERFILE)
    unhashed = [each for each in installs if "--require-hashes" not in each]
    assert len(installs) - len(unhashed) == 2
    for each in unhashed:
        assert re.search(r"torch|--no-build-isolation \.", each), each


def test_labels_say_version_and_commit() -> None:
    base = stages()["base"]
    for label, argument in (("version", "VERSION"), ("revision", "COMMIT"), ("created", "CREATED")):
        assert f'org.opencontainers.image.{label}="${{{argument}}}"' in base
        assert re.search(f"^ARG {argument}=", base, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"ARG VERSION={project['version']}\n" in base
    assert f'licenses="{project["license"]}"' in base


def test_the_health_check_is_a_program() -> None:
    code = re.search(r'CMD \["python3", "-c", "(.+)"\]$', DOCKERFILE, re.MULTILINE)
    assert code
    compile(code[1].replace('\\"', '"'), "HEALTHCHECK", "exec")
    assert "/health/live" in code[1]


def test_the_builder_sees_what_the_package_needs_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line[1:] for line in rules if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in packages} <= allowed
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= allowed
    assert not allowed & {"tests", ".git", ".naru", ".venv", "deploy"}
