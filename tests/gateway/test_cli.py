"""The command line: every fault a user can mend is one line, never a traceback."""

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import free_port

from gateway import preflight
from gateway.commands.ingest import find_files
from gateway.govern.usage_report import GROUPS


def naru(folder: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NARU")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "gateway", *arguments],
        cwd=folder,
        env={**clean, "COLUMNS": "100", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def refusal(folder: Path, *arguments: str, **environ: str) -> str:
    """The one line on standard error."""
    result = naru(folder, *arguments, **environ)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("naru: ")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr.strip()


def test_help_names_every_command(tmp_path: Path) -> None:
    shown = naru(tmp_path, "--help").stdout
    for command in (
        "serve",
        "doctor",
        "token",
        "ingest",
        "eval",
        "sync",
        "tenant",
        "client",
        "key",
        "keys",
        "store",
        "version",
    ):
        assert command in shown


def test_help_of_usage_names_every_group(tmp_path: Path) -> None:
    shown = naru(tmp_path, "usage", "show", "--help", COLUMNS="300").stdout
    assert ", ".join(GROUPS) in shown


@pytest.mark.parametrize("command", ["limits", "budget"])
def test_help_says_which_scope_is_needed(tmp_path: Path, command: str) -> None:
    assert "needs a client with the scope admin" in naru(tmp_path, command, "--help").stdout


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    argv = [sys.executable, "-P", "-c", "import sys, gateway.cli; print(*sys.modules)"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert not {"litestar", "pydantic", "asyncpg", "aiohttp"} & set(shown.stdout.split())


def test_version(tmp_path: Path) -> None:
    assert naru(tmp_path, "version").stdout == "0.1.0\n"


def test_doctor_succeeds_before_the_first_start(tmp_path: Path) -> None:
    result = naru(tmp_path, "doctor", PORT=str(free_port()))
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(result.stdout.splitlines()) == 10
    assert "MISS" not in result.stdout


def test_doctor_fails_where_something_is_missing(tmp_path: Path) -> None:
    result = naru(tmp_path, "doctor", DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert result.returncode == 1
    assert "MISS PostgreSQL" in result.stdout


@pytest.mark.parametrize(
    "arguments", [["token"], ["ingest", "x.md"], ["key", "create"]], ids=lambda a: a[0]
)
def test_without_credentials_it_says_what_to_do(tmp_path: Path, arguments: list[str]) -> None:
    assert "start the service with `make run`" in refusal(tmp_path, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [["client", "create", "--name", "x"], ["client", "list"], ["key", "create", "--client", "x"]],
    ids=" ".join,
)
def test_without_a_running_service_it_says_so(tmp_path: Path, arguments: list[str]) -> None:
    assert "not running: start it with `make run`" in refusal(tmp_path, *arguments)
    assert not list(tmp_path.iterdir())


def test_a_service_that_does_not_answer_is_named(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    environ = {"NARU_URL": url, "NARU_CLIENT_ID": "a", "NARU_CLIENT_SECRET": "b"}
    assert f"{url} does not answer" in refusal(tmp_path, "token", **environ)


class _Refusing(http.server.BaseHTTPRequestHandler):
    """Refuses every client (RFC 6749 section 5.2) and every upload."""

    def do_POST(self) -> None:
        body = b'{"error": "invalid_client", "error_description": "unknown client"}'
        status = 401
        if self.path == "/v1/files":
            self.rfile.read(int(self.headers.get("content-length") or 0))
            body, status = b'{"error": {"message": "longer than 10 bytes"}}', 413
            if self.headers["authorization"] == "Bearer sk-naru-wrong":
                body, status = b'{"error": {"message": "unknown key"}}', 401
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_refused_client_is_told_why(tmp_path: Path, refusing: str) -> None:
    environ = {"NARU_URL": refusing, "NARU_CLIENT_ID": "a", "NARU_CLIENT_SECRET": "b"}
    assert refusal(tmp_path, "token", **environ).endswith("unknown client")


def test_each_document_that_failed_is_named_with_its_reason(tmp_path: Path, refusing: str) -> None:
    (tmp_path / "big.md").write_text("# too long for them")
    environ = {"NARU_URL": refusing, "NARU_API_KEY": "sk-naru-x", "NARU_STORE": "vs_1"}
    result = naru(tmp_path, "ingest", "big.md", "missing.md", **environ)
    assert result.returncode == 1
    assert "big.md: longer than 10 bytes (HTTP 413)" in result.stderr
    assert "missing.md: No such file or directory" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == "0 of 2 document(s) added to vs_1\n"


@pytest.mark.parametrize(
    ("url", "expected"), [(None, "refuses the credentials: unknown key"), ("", "does not answer")]
)
def test_what_stops_every_document_is_one_line(
    tmp_path: Path, refusing: str, url: str | None, expected: str
) -> None:
    (tmp_path / "a.md").write_text("# a")
    (tmp_path / "b.md").write_text("# b")
    place = refusing if url is None else f"http://127.0.0.1:{free_port()}"
    environ = {"NARU_URL": place, "NARU_API_KEY": "sk-naru-wrong", "NARU_STORE": "vs_1"}
    result = naru(tmp_path, "ingest", ".", **environ)
    assert result.returncode == 2
    assert expected in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_a_folder_without_documents_is_told(tmp_path: Path) -> None:
    environ = {"NARU_URL": "http://127.0.0.1:1", "NARU_API_KEY": "x"}
    assert "no documents there" in refusal(tmp_path, "ingest", ".", **environ)


def test_folders_are_walked_for_known_formats(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.PDF", "deep/b.md", "deep/c.bin", ".hidden.md"):
        (tmp_path / name).touch()
    found, skipped = find_files([tmp_path, tmp_path / "deep" / "c.bin"])
    assert [path.name for path in found] == ["a.PDF", "b.md", "c.bin"]
    assert skipped == 1


def test_serve_names_a_broken_setting(tmp_path: Path) -> None:
    (tmp_path / "naru.yaml").write_text("server: {prot: 1}")
    result = naru(tmp_path, "serve")
    assert result.returncode == 2
    assert "server.prot: no such setting; did you mean `port`?" in result.stderr
    assert "Traceback" not in result.stderr


def test_serve_names_a_missing_settings_file(tmp_path: Path) -> None:
    assert "can't read the settings file no.yaml" in refusal(
        tmp_path, "serve", "--config", "no.yaml"
    )


def test_serve_names_a_wrong_argument_of_an_engine(tmp_path: Path) -> None:
    engine = "{model: m, args: {max-modl-len: 1}}"
    (tmp_path / "naru.yaml").write_text(f"engines: {{qwen: {engine}}}")
    result = naru(tmp_path, "serve", PORT=str(free_port()))
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == (
        "naru: engines.qwen.args: vLLM has no argument `max-modl-len`; "
        "did you mean `max-model-len`?"
    )
    assert "Traceback" not in result.stderr


def test_serve_names_a_busy_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal(tmp_path, "serve", PORT=str(port))
    assert f"127.0.0.1:{port} is in use" in said
    assert f"PORT={port + 1} make run" in said
    assert not list(tmp_path.iterdir())


def test_serve_names_a_data_folder_it_cannot_make(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environ = {"NARU__DATA_DIR": "file/data", "PORT": str(free_port())}
    assert "can't write to the data folder" in refusal(tmp_path, "serve", **environ)


def test_serve_refuses_a_folder_another_naru_has(tmp_path: Path) -> None:
    folder = preflight.open_data_dir(tmp_path / ".naru")
    held = preflight.lock(folder)
    assert "another naru is running" in refusal(tmp_path, "serve", PORT=str(free_port()))
    os.close(held)


def test_serve_refuses_the_data_of_another_postgres(tmp_path: Path) -> None:
    (tmp_path / ".naru" / "postgres").mkdir(parents=True)
    (tmp_path / ".naru" / "postgres" / "PG_VERSION").write_text("14\n")
    result = naru(tmp_path, "serve", PORT=str(free_port()))
    assert result.returncode == 2
    assert "made by PostgreSQL 14, this Naru carries 18" in result.stderr
    assert "Traceback" not in result.stderr


def test_serve_names_a_database_that_refuses(tmp_path: Path, postgres_server: str) -> None:
    environ = {"DATABASE_URL": postgres_server.replace("naru@", "nobody-of-that-name@")}
    result = naru(tmp_path, "serve", PORT=str(free_port()), **environ)
    assert result.returncode == 2
    assert 'role "nobody-of-that-name" does not exist' in result.stderr
    assert "Traceback" not in result.stderr


_UNUSABLE = """
auth: {secret_key_file: /nonexistent}
redis: {url: "http://x"}
providers: {x: {base_url: "http://x/v1", api_keys_file: /nonexistent}}
"""


@pytest.mark.parametrize("command", ["serve", "doctor", "reload"])
def test_what_workers_could_not_use_stops_before_anything_starts(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "c.yaml").write_text(_UNUSABLE)
    refused = naru(tmp_path, command, "--config", "c.yaml")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert [line.partition(": ")[0].strip() for line in refused.stderr.splitlines()[1:]] == [
        "redis.url",
        "auth.secret_key_file",
        "providers.x.api_keys_file",
    ]
    assert not (tmp_path / ".naru").exists()


def test_a_backup_is_restored_where_its_key_is_still_missing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("auth: {secret_key_file: missing.key}")
    told = refusal(tmp_path, "restore", "no.backup", "--config", "c.yaml")
    assert told.startswith("naru: no.backup can't be read as a backup")
