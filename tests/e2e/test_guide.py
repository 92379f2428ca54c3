"""The examples of docs/guide.md, as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.credentials import Credentials

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"


def blocks(language: str) -> str:
    """Return the guide's examples in a language, in their order."""
    found = re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    return "\n".join(found)


def run(credentials: Credentials, *command: str) -> str:
    environ = {
        **os.environ,
        "NARU_URL": credentials.url,
        "NARU_CLIENT_ID": credentials.client_id,
        "NARU_CLIENT_SECRET": credentials.client_secret,
        "NARU_API_KEY": credentials.api_key,
    }
    ended = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_python(credentials: Credentials) -> None:
    said = run(credentials, sys.executable, "-c", blocks("python"))
    assert said.count("15일") >= 2
    assert "HR_Policy_2026.pdf 12" in said


def test_bash(credentials: Credentials) -> None:
    said = run(credentials, "bash", "-euo", "pipefail", "-c", blocks("bash"))
    assert '"references"' in said
    assert said.rstrip().endswith("data: [DONE]")


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_typescript(credentials: Credentials, tmp_path: Path) -> None:
    script = tmp_path / "guide.mjs"  # the example has no types, so it is JavaScript, too
    script.write_text(blocks("typescript"))
    assert "15일" in run(credentials, "node", str(script))
