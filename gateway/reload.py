"""New settings while the service runs: what is read once, what may change, what is told of it.

The processes of a run read a copy of the settings file, not the file: a worker that is started
again gets what the others have, whatever was written meanwhile.
"""

import fcntl
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from config.embedded import runtime_path
from config.errors import ConfigError
from config.load import load_settings, settings_file
from config.settings import Settings

_FIXED = (
    "data_dir",
    "database.url",
    "redis",
    "embedding",
    "reranker",
    "server.host",
    "server.port",
    "server.workers",
    "telemetry.metrics_host",
    "telemetry.metrics_port",
)
_OUTCOME = "reload.json"
_REFUSED = "settings.refused"
_PATIENCE_S = 180.0
_POLL_S = 0.1


def copy_settings(named: Path | None, runtime: Path, number: int) -> Path:
    """Copy the settings file as it is now, an empty one where there is none.

    Raises:
        ConfigError: It can't be read.
    """
    source, copy = settings_file(named), runtime / f"settings-{number}.yaml"
    try:
        text = source.read_bytes() if source else b""
    except OSError as error:
        raise ConfigError(f"can't read the settings file {source}: {error.strerror}") from None
    copy.touch(mode=0o600)
    copy.write_bytes(text)
    return copy


def load_copy(named: Path | None, copy: Path) -> Settings:
    """Return the settings of a copy.

    Raises:
        ConfigError: They need changes; the message names the file that was copied.
    """
    try:
        return load_settings(copy)
    except ConfigError as error:
        source = settings_file(named)
        raise ConfigError(str(error).replace(str(copy), str(source))) from None


def check_reloadable(old: Settings, new: Settings) -> None:
    """Do nothing if running workers can be replaced by ones with the new settings.

    Raises:
        ConfigError: Something changed that only a restart can change.
    """
    changed = [name for name in _FIXED if _value(old, name) != _value(new, name)]
    if _started(old) != _started(new):
        changed.append("engines")
    if changed:
        raise ConfigError(f"these need a restart: {', '.join(changed)}")


def _value(settings: Settings, name: str) -> Any:  # noqa: ANN401 - of any section
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _started(settings: Settings) -> dict[str, Any]:
    """Return the engines that are children of ours."""
    return {name: each for name, each in settings.engines.items() if each.model}


def refused_file(runtime: Path) -> Path:
    """Return the file that is there while the settings file is not what the service runs with."""
    return runtime / _REFUSED


def tell_outcome(runtime: Path, number: int, error: ConfigError | None) -> None:
    """Say how a reload went, to web workers and to whoever asked for it."""
    if error:
        refused_file(runtime).touch()
    else:
        refused_file(runtime).unlink(missing_ok=True)
    fresh = runtime / f"{_OUTCOME}.new"
    fresh.write_text(json.dumps({"number": number, "error": str(error) if error else None}))
    fresh.replace(runtime / _OUTCOME)


def reload_running(data_dir: Path) -> None:
    """Ask the service on this data folder to take the settings as they are now, and wait for it.

    Raises:
        ConfigError: None runs there, or it goes on with the settings that it had.
    """
    parent, runtime = _parent(data_dir), runtime_path(data_dir)
    before = _outcome(runtime)
    os.kill(parent, signal.SIGUSR1)
    deadline = time.monotonic() + _PATIENCE_S
    while (told := _outcome(runtime)) == before:
        if time.monotonic() > deadline:
            raise ConfigError(f"no word from the service (process {parent}): see its log")
        time.sleep(_POLL_S)
    if told["error"]:
        raise ConfigError(f"the service goes on with the settings that it had: {told['error']}")


def _outcome(runtime: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((runtime / _OUTCOME).read_text())
    except FileNotFoundError:
        return {}
    return told


def _parent(data_dir: Path) -> int:
    """Return the process that holds the data folder's lock, which says who it is."""
    path = data_dir / "naru.lock"
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(path.read_text())
    except OSError:
        pass
    raise ConfigError(f"no service runs on {data_dir.resolve()}")
