"""New settings under load: nobody is refused, a stream goes on, a bad file changes nothing."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from client_load import MESSAGES, Load
from gated_upstream import Gates, gated_upstream
from naru_process import NaruProcess, wait_until_gone

from gateway.credentials import Credentials

READY = {"status": "ready", "degraded": []}


@pytest.fixture
def gates() -> Iterator[Gates]:
    with gated_upstream() as playing:
        yield playing


@pytest.fixture
def file(tmp_path: Path, gates: Gates) -> Path:
    path = tmp_path / "naru.yaml"
    _write(path, gates, models={"first": ["openai/free"]})
    return path


@pytest.fixture
def naru(tmp_path: Path, file: Path) -> Iterator[NaruProcess]:
    with NaruProcess(tmp_path / "data", "--demo", environ={"NARU_CONFIG": str(file)}) as process:
        process.wait_until_ready()
        yield process


def _write(path: Path, gates: Gates, **sections: Any) -> None:
    patience = {"first_byte_timeout_s": 300, "idle_timeout_s": 300}
    hosted = {"openai": {"api_key": "sk-upstream", "base_url": gates.url, **patience}}
    path.write_text(json.dumps({"providers": hosted, **sections}))


def _models(naru: NaruProcess, key: str) -> set[str]:
    headers = {"authorization": f"Bearer {key}"}
    listed = httpx.get(naru.url + "/v1/models", headers=headers, timeout=60).json()
    return {each["id"] for each in listed["data"]}


def test_new_settings(naru: NaruProcess, file: Path, gates: Gates) -> None:
    known = Credentials.read(naru.data_dir)
    assert known is not None
    body = {"model": "openai/slow", "messages": MESSAGES, "stream": True}
    headers = {"authorization": f"Bearer {known.api_key}"}
    url = known.url + "/v1/chat/completions"
    with (
        Load(lambda: known.url, known.api_key) as load,
        httpx.stream("POST", url, json=body, headers=headers, timeout=120) as slow,
    ):
        lines = slow.iter_lines()
        assert "15 days" in next(lines)
        (old,) = naru.children("gateway.web_worker")

        _write(file, gates, models={"second": ["openai/free"]})
        _reload(naru, file, "the service has the new settings")
        assert {"second"} <= _models(naru, known.api_key)
        assert "first" not in _models(naru, known.api_key)
        assert old.is_running()  # it has a stream to end
        answered = load.answers.total()

        _write(file, gates, models={"third": ["nobody/x"]})
        naru.process.send_signal(signal.SIGHUP)
        naru.wait_for_output("the settings stay as they were: the settings need 1 change(s)")
        assert "models.third: no provider `nobody` is configured" in naru.output
        naru.wait_for_answer("/health/ready", 200, {"status": "degraded", "degraded": ["settings"]})
        assert "second" in _models(naru, known.api_key)

        _write(file, gates, server={"workers": 2})
        _reload(naru, file, "these need a restart: server.workers")
        _does_not_start(naru, file, gates)

        _write(file, gates, models={"fourth": ["openai/free"]})
        _reload(naru, file, "the service has the new settings")
        naru.wait_for_answer("/health/ready", 200, READY)
        assert "fourth" in _models(naru, known.api_key)
        assert load.answers.total() > answered
        gates["slow"].set()
        assert list(lines)[-2:] == ["data: [DONE]", ""]
        wait_until_gone([old])
    assert not load.faults


def _does_not_start(naru: NaruProcess, file: Path, gates: Gates) -> None:
    """Settings that hold, with which a worker does not start all the same."""
    _write(file, gates, database={"pooler_url": "pgbouncer://nobody:none@127.0.0.1:9"})
    before = naru.children("gateway.web_worker")
    _reload(naru, file, "web-1 does not start with them: the service's log says why")
    assert all(worker.is_running() for worker in before)


def _reload(naru: NaruProcess, file: Path, said: str) -> None:
    done = naru.run("reload", "--config", str(file))
    assert said in done.stdout + done.stderr, naru.output


def test_the_end_of_the_terminal_ends_the_service(tmp_path: Path) -> None:
    away = {"NARU__EMBEDDING__URL": "http://127.0.0.1:9/v1"}
    code = "import pty, sys; pty.spawn(sys.argv[1:])"
    naru = NaruProcess(tmp_path / "data", environ=away, wrapper=[sys.executable, "-c", code])
    naru.wait_until_ready()
    family = naru.family()
    naru.kill()
    wait_until_gone(family)
