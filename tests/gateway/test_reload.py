"""What of the settings may change while the service runs, and what is read once."""

from pathlib import Path
from typing import Any

import pytest

from config.errors import ConfigError
from config.settings import Settings
from gateway.reload import check_reloadable, copy_settings, load_copy, reload_running


def _settings(**values: Any) -> Settings:
    return Settings.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {"models": {"quotes": ["extractive"]}},
        {"engines": {"far": {"urls": ["http://10.0.0.1/v1"]}}},
        {"server": {"grace_s": 1, "max_body_bytes": 5000}},
        {"limits": {"client": {"requests_per_minute": 5}}},
        {"database": {"pool_size": 3}},
    ],
)
def test_what_only_workers_read_may_change(values: dict[str, Any]) -> None:
    check_reloadable(_settings(), _settings(**values))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"data_dir": "elsewhere"}, "data_dir"),
        ({"database": {"url": "postgresql://db/naru"}}, "database.url"),
        ({"redis": {"url": "redis://cache"}}, "redis"),
        ({"embedding": {"model": "other"}}, "embedding"),
        ({"server": {"port": 9, "workers": 2}}, "server.port, server.workers"),
        ({"engines": {"near": {"model": "a/b"}}}, "engines"),
    ],
)
def test_what_needs_a_restart_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=rf"these need a restart: {named}$"):
        check_reloadable(_settings(), _settings(**values))


def test_a_copy_is_private_and_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "naru.yaml"
    file.write_text("sessions: {history_tokens: 7}")
    copy = copy_settings(file, tmp_path, 1)
    file.write_text("sessions: {history_token: 8}")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert load_copy(file, copy).sessions.history_tokens == 7
    with pytest.raises(ConfigError, match="did you mean `history_tokens`"):
        load_copy(file, copy_settings(file, tmp_path, 2))


def test_faults_name_the_file_that_was_written(tmp_path: Path) -> None:
    file = tmp_path / "naru.yaml"
    file.write_text("a: [")
    with pytest.raises(ConfigError) as caught:
        load_copy(file, copy_settings(file, tmp_path, 1))
    assert f"{file} is not valid YAML" in str(caught.value)


def test_without_a_service_there_is_nothing_to_reload(tmp_path: Path) -> None:
    for data_dir in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match="no service runs on"):
            reload_running(data_dir)
