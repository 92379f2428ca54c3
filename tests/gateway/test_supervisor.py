"""The supervisor with its real children, but for the embedding model."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from naru_process import NaruProcess, run_naru, wait_until_gone

from config import embedded

# Nothing answers there: saves loading a model, and shows a service that starts degraded.
_NO_MODEL = {"NARU__EMBEDDING__URL": "http://127.0.0.1:9/v1"}
_READY = {"status": "degraded", "degraded": ["embedding"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("supervisor") / "data"


@pytest.fixture(scope="module")
def naru(folder: Path) -> Iterator[NaruProcess]:
    with NaruProcess(folder, environ=_NO_MODEL | {"NARU__SERVER__WORKERS": "2"}) as process:
        process.wait_until_ready()
        yield process


def test_it_says_what_was_started_and_what_is_missing(naru: NaruProcess) -> None:
    assert "PostgreSQL 18." in naru.output
    assert "Redis " in naru.output
    assert "serving without embedding" in naru.output
    assert naru.get("/health/ready") == (200, _READY)


def test_every_child_has_a_session_of_its_own(naru: NaruProcess) -> None:
    tethers = [p for p in naru.process.children() if "config.tether" in p.cmdline()]
    assert len(tethers) == 5
    sessions = {os.getsid(process.pid) for process in naru.family()}
    assert len(sessions) >= 11


def test_a_web_worker_that_dies_is_replaced(naru: NaruProcess) -> None:
    workers = naru.children("gateway.web_worker")
    assert len(workers) == 2
    for worker in workers:
        worker.kill()
    naru.wait_for_output("web-1 ended with status 137; restarting in 1 s")
    naru.wait_for_answer("/health/ready", 200, _READY)


@pytest.mark.parametrize("store", ["postgres", "redis-server"])
def test_a_store_that_dies_comes_back_and_is_used_again(naru: NaruProcess, store: str) -> None:
    (server,) = naru.children(store)
    server.kill()
    naru.wait_for_output(f"{store.partition('-')[0]} ended with status 137")
    naru.wait_for_answer("/health/ready", 200, _READY)


def test_another_one_on_the_same_data_is_refused(naru: NaruProcess, folder: Path) -> None:
    other = NaruProcess(folder, environ=_NO_MODEL)
    assert other.process.wait(30) == 2
    assert "another naru is running" in other.output
    assert naru.get("/health/live")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_in_order(tmp_path: Path, number: int) -> None:
    naru = NaruProcess(tmp_path / "data", environ=_NO_MODEL)
    naru.wait_until_ready()
    family = naru.family()
    naru.process.send_signal(number)
    assert naru.process.wait(30) == 0, naru.output
    wait_until_gone(family, 0)
    assert not embedded.runtime_path(naru.data_dir).exists()
    assert not (naru.data_dir / "postgres" / "postmaster.pid").exists()
    assert "Traceback" not in naru.output


def test_a_signal_that_comes_twice_at_once_is_one(tmp_path: Path) -> None:
    """As when a process group is signalled, and make hands its own on."""
    naru = NaruProcess(tmp_path / "data", environ=_NO_MODEL)
    naru.wait_until_ready()
    naru.process.send_signal(signal.SIGTERM)
    naru.wait_for_output("stopping")
    naru.process.send_signal(signal.SIGTERM)
    assert naru.process.wait(30) == 0, naru.output
    assert "ended with status" not in naru.output
    assert "Traceback" not in naru.output


def test_a_signal_while_it_starts_stops_it_too(tmp_path: Path) -> None:
    naru = NaruProcess(tmp_path / "data", environ=_NO_MODEL)
    while "starting PostgreSQL" not in naru.output:
        assert naru.process.poll() is None
    naru.process.send_signal(signal.SIGTERM)
    assert naru.process.wait(30) == 0, naru.output
    assert not embedded.runtime_path(naru.data_dir).exists()
    assert "Traceback" not in naru.output


def test_a_backup_of_the_embedded_stores_needs_no_service(tmp_path: Path) -> None:
    with NaruProcess(tmp_path / "data", environ=_NO_MODEL) as naru:
        naru.wait_until_ready()
        assert naru.run("backup", "running.tar").returncode == 0
        assert "another naru is running" in naru.run("restore", "running.tar").stderr
        assert naru.run("migrate", "--dry-run").stdout == "nothing to apply\n"
    own = {"NARU__DATA_DIR": str(tmp_path / "data")}
    before = (tmp_path / "running.tar").read_bytes()
    again = run_naru(tmp_path, own, "backup", "running.tar")
    assert (again.returncode, "running.tar is there already" in again.stderr) == (2, True)
    assert (tmp_path / "running.tar").read_bytes() == before
    assert run_naru(tmp_path, own, "backup", "running.tar", "--force").returncode == 0
    assert (tmp_path / "running.tar").read_bytes() != before
    stopped = run_naru(tmp_path, own, "backup", "stopped.tar", "--no-key")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert "it does not hold the secret key" in stopped.stdout
    other = {"NARU__DATA_DIR": str(tmp_path / "other")}
    refused = run_naru(tmp_path, other, "restore", "stopped.tar")
    assert "the backup does not hold its secret key" in refused.stderr
    assert run_naru(tmp_path, other, "restore", "running.tar").returncode == 0
    assert "is not empty" in run_naru(tmp_path, other, "restore", "running.tar").stderr
    (tmp_path / "other" / "secret.key").write_text("a key of somebody else, who is not asked")
    assert "another secret key" in run_naru(tmp_path, other, "restore", "stopped.tar").stderr


def test_after_kill_9_no_child_stays_and_the_next_start_finds_the_data(tmp_path: Path) -> None:
    killed = NaruProcess(tmp_path / "data", environ=_NO_MODEL)
    killed.wait_until_ready()
    family = killed.family()
    assert len(family) > 8
    killed.kill()
    with NaruProcess(tmp_path / "data", environ=_NO_MODEL) as again:
        again.wait_until_ready()
        wait_until_gone(family, 0)
        assert "applied" not in again.output


def test_it_stops_with_its_parent(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    naru = NaruProcess(
        tmp_path / "data",
        "--exit-with-parent",
        environ=_NO_MODEL,
        wrapper=[sys.executable, "-c", code],
    )
    naru.wait_until_ready()
    family = naru.family()
    naru.kill()
    wait_until_gone(family)
    assert not embedded.runtime_path(naru.data_dir).exists()
