"""`loadtest/locustfile.py` against the running service, for a few seconds."""

import json
import os
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from gateway.credentials import Credentials

ROOT = Path(__file__).resolve().parents[2]
LOCUST = shutil.which("locust", path=f"{ROOT}/.naru/locust/bin:{os.environ['PATH']}")
ASKED = {"chat", "chat, streamed", "agent", "agent, streamed", "embed", "search", "/oauth/token"}


@pytest.mark.skipif(LOCUST is None, reason="locust is not installed: `make locust` does it")
def test_users_log_in_and_ask_everything(credentials: Credentials, tmp_path: Path):
    assert LOCUST
    given = {f"NARU_{f.name.upper()}": getattr(credentials, f.name) for f in fields(credentials)}
    script = str(ROOT / "loadtest" / "locustfile.py")
    arguments = ["-f", script, "--headless", "-u", "12", "-r", "12", "-t", "15s", "--json"]
    environ = {"PATH": os.environ["PATH"], **given}
    done = subprocess.run(
        [LOCUST, *arguments, "--only-summary", "--exit-code-on-error", "1"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert {each["name"] for each in told} == ASKED
    assert {each["method"] for each in told} >= {"first token", "between tokens", "tokens/s"}
    assert [each for each in told if each["num_failures"]] == []
