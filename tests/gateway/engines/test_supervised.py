"""Engines under the real supervisor: readiness, secrets, a drain, and no orphan ever."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from engine_support import ENGINE, LAST_PROCESS, engine_settings
from naru_process import NaruProcess, wait_until_gone

from config import embedded

_STARTING = {
    "status": "starting",
    "degraded": ["embedding", f"engine {ENGINE}"],
    "reason": "an engine was not up yet",
}
_READY = {"status": "degraded", "degraded": ["embedding"]}
_SECRETS = {
    "OPENAI_API_KEY": "sk-ours",
    "ANTHROPIC_API_KEY": "sk-ours-too",
    "NARU__AUTH__SECRET_KEY": "a secret of more than thirty-two characters",
}


def start(folder: Path, model: Path, *, grace_s: int = 20) -> NaruProcess:
    settings = engine_settings(model)
    section = f"NARU__ENGINES__{ENGINE.upper()}__"
    environ = {
        **_SECRETS,
        section + "MODEL": str(model),
        section + "ARGS": json.dumps(settings.args),
        section + "ENV": json.dumps(settings.env),
        "NARU__EMBEDDING__URL": "http://127.0.0.1:9/v1",
        "NARU__SERVER__GRACE_S": str(grace_s),
    }
    return NaruProcess(folder, environ=environ)


def engine_family(naru: NaruProcess) -> list[psutil.Process]:
    """vLLM's processes: the server of its API, its core, its worker, what they need beside."""
    found = []
    for server in naru.children("api_server.entry"):
        found += [server, *server.children(recursive=True)]
    return [process for process in found if _name_of(process)]


def _name_of(process: psutil.Process) -> str:
    """Return a running process's name; vLLM's short-lived ones may be gone by then."""
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else process.name()
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(scope="module")
def naru(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[NaruProcess]:
    with start(tmp_path_factory.mktemp("supervised") / "data", tiny_model) as process:
        yield process


def test_readiness_waits_for_its_first_start_and_the_terminal_tells_of_it(
    naru: NaruProcess,
) -> None:
    naru.wait_for_answer("/health/ready", 503, _STARTING)
    naru.wait_until_ready(280)
    assert naru.get("/health/ready") == (200, _READY)
    assert f"engine {ENGINE}: " in naru.output
    assert f"engine-{ENGINE}: loading weights" in naru.output
    assert f"engine-{ENGINE}: ready in " in naru.output


def test_no_secret_of_ours_is_in_the_environment_of_any_of_its_processes(
    naru: NaruProcess,
) -> None:
    family = engine_family(naru)
    assert len(family) >= 3
    for process in family:
        environ = process.environ()
        assert not [name for name in environ if name.startswith("NARU") or "API_KEY" in name]
        assert not set(_SECRETS.values()) & set(environ.values())


def test_while_an_engine_answers_the_gateway_answers_others(naru: NaruProcess) -> None:
    answers = 0
    with ThreadPoolExecutor() as pool:
        streaming = pool.submit(_stream_to_its_end, naru, 3000)
        while not streaming.done():
            assert naru.get("/health/live")[0] == 200
            answers += 1
    assert b'"finish_reason":"length"' in streaming.result()
    assert answers > 100  # where vLLM's core keeps both cores there are two


def test_when_it_is_told_to_stop_a_stream_under_way_finishes_and_nothing_stays(
    naru: NaruProcess,
) -> None:
    family = naru.family()
    (server,) = naru.children("api_server.entry")
    with _stream(naru, 900) as stream:
        read = b""
        while b"data: " not in read:  # vLLM sends the head before its core knows of a request
            part = stream.recv(4096)
            assert part, read
            read += part
        server.send_signal(signal.SIGTERM)
        naru.process.send_signal(signal.SIGTERM)
        read += _rest(stream)
    assert b'"finish_reason":"length"' in read
    assert b"data: [DONE]" in read
    assert naru.process.wait(60) == 0, naru.output
    wait_until_gone(family, 10)


def test_after_kill_9_of_naru_no_process_of_an_engine_stays(
    tmp_path: Path, tiny_model: Path
) -> None:
    with start(tmp_path / "data", tiny_model, grace_s=1) as killed:
        while not any(_name_of(process) == LAST_PROCESS for process in engine_family(killed)):
            assert killed.process.poll() is None, killed.output
        family, everything = engine_family(killed), killed.family()
        assert {os.getpgid(process.pid) for process in family} == {family[0].pid}
        killed.kill()
    wait_until_gone(everything)


@contextmanager
def _stream(naru: NaruProcess, tokens: int) -> Iterator[socket.socket]:
    """Ask the engine for a stream of so many tokens, on its own socket."""
    fields = {"model": ENGINE, "prompt": "hi", "stream": True, "max_tokens": tokens}
    body = json.dumps({**fields, "ignore_eos": True}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nhost: engine\r\ncontent-type: application/json\r\n"
    head += f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(embedded.runtime_path(naru.data_dir) / "engine-0-1.sock"))
        stream.settimeout(120)
        stream.sendall(head.encode() + body)
        yield stream


def _rest(stream: socket.socket) -> bytes:
    return b"".join(iter(lambda: stream.recv(65536), b""))


def _stream_to_its_end(naru: NaruProcess, tokens: int) -> bytes:
    with _stream(naru, tokens) as stream:
        return _rest(stream)
