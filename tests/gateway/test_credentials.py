"""demo.env."""

from pathlib import Path

import pytest

from config.errors import ConfigError
from gateway.credentials import Credentials, find_credentials

DEMO = Credentials("http://127.0.0.1:8080", "client-1", "s3cret", "sk-naru-1", "hr", "vs_1")


def test_the_file_holds_shell_variables_for_its_owner_only(tmp_path: Path) -> None:
    DEMO.write(tmp_path)
    path = tmp_path / "demo.env"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().splitlines() == [
        "NARU_URL=http://127.0.0.1:8080",
        "NARU_CLIENT_ID=client-1",
        "NARU_CLIENT_SECRET=s3cret",
        "NARU_API_KEY=sk-naru-1",
        "NARU_AGENT=hr",
        "NARU_STORE=vs_1",
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo.env"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert Credentials.read(tmp_path) is None
    DEMO.write(tmp_path)
    assert Credentials.read(tmp_path) == DEMO
    assert find_credentials(tmp_path, {}) == DEMO


def test_the_environment_can_point_elsewhere(tmp_path: Path) -> None:
    DEMO.write(tmp_path)
    found = find_credentials(tmp_path, {"NARU_URL": "http://other:1"})
    assert (found.url, found.api_key) == ("http://other:1", DEMO.api_key)


def test_a_client_of_the_environment_is_not_mixed_with_the_files_key(tmp_path: Path) -> None:
    DEMO.write(tmp_path)
    environ = {"NARU_URL": "http://x", "NARU_CLIENT_ID": "me", "NARU_CLIENT_SECRET": "mine"}
    assert find_credentials(tmp_path, environ) == Credentials("http://x", "me", "mine")


def test_without_file_and_environment_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no .*demo\.env: start the service with `make run`"):
        find_credentials(tmp_path, {})
