"""Read the settings: one YAML file, then the environment over it; report every fault at once."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml

from config.errors import ConfigError
from config.faults import check
from config.settings import Settings
from config.targets import Kind
from config.yaml_text import read_yaml

DEFAULT_FILE = Path("naru.yaml")
FILE_VARIABLE = "NARU_CONFIG"
SOCKETS_VARIABLE = "NARU_MODEL_SOCKETS"
ENGINES_VARIABLE = "NARU_ENGINE_SOCKETS"
STARTING_VARIABLE = "NARU_STARTING_FILE"
_PREFIX = "NARU__"
_SHORT_NAMES = {
    "HOST": ("server", "host"),
    "PORT": ("server", "port"),
    "DATABASE_URL": ("database", "url"),
    "REDIS_URL": ("redis", "url"),
    "OPENAI_API_KEY": ("providers", "openai", "api_key"),
    "OPENAI_BASE_URL": ("providers", "openai", "base_url"),
}

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")

_Tree = dict[str, Any]


def load_settings(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    look_at_files: bool = True,
) -> Settings:
    """Return the settings from a file and the environment.

    The file is `file`, else the one NARU_CONFIG names, else `naru.yaml` when there is one.
    Order of precedence: `NARU__SECTION__KEY`, short names such as `PORT`, the file, the defaults.

    Args:
        file: The one that was named.
        environ: Default this process's.
        look_at_files: Whether files that the settings name must be there and of use.

    Raises:
        ConfigError: One line per fault, each with its path and what to write instead.
    """
    environ = os.environ if environ is None else environ
    source = settings_file(file, environ)
    values, faults = _read_file(source) if source else ({}, [])
    faults += _put_environment(values, environ)
    faults += _put_model(values, environ)
    _say_kinds(values)
    told = {fault.partition(":")[0] for fault in faults}
    settings, found = check(values, look_at_files=look_at_files)
    faults += [fault for fault in found if fault.partition(":")[0] not in told]
    if settings is None or faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise ConfigError(f"the settings need {len(faults)} change(s):\n{lines}")
    return settings


def settings_file(
    named: Path | None = None, environ: Mapping[str, str] | None = None
) -> Path | None:
    """Return the file that `load_settings` reads; None where there is none."""
    variable = (os.environ if environ is None else environ).get(FILE_VARIABLE)
    file = named or (Path(variable) if variable else None)
    return file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def model_sockets(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder where the embedding and reranking workers listen, as the parent names it.

    Raises:
        ConfigError: This process was not started by `naru serve`.
    """
    path = (os.environ if environ is None else environ).get(SOCKETS_VARIABLE)
    if not path:
        raise ConfigError(f"{SOCKETS_VARIABLE} is not set: start the service with `naru serve`")
    return Path(path)


def engine_urls(environ: Mapping[str, str] | None = None) -> dict[str, tuple[str, ...]]:
    """Return where the engines that the parent process started listen, `unix:///PATH` by name."""
    text = (os.environ if environ is None else environ).get(ENGINES_VARIABLE, "{}")
    return {name: tuple(urls) for name, urls in json.loads(text).items()}


def starting_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the file that is there until every engine was up once, as the parent names it."""
    path = (os.environ if environ is None else environ).get(STARTING_VARIABLE)
    return Path(path) if path else None


def model_alias(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the alias of the model that MODEL names: its last path part, made fit for one."""
    model = (os.environ if environ is None else environ).get("MODEL")
    if not model:
        return None
    last = (Path(model).resolve() if Path(model).is_dir() else Path(model)).name
    return _UNFIT.sub("-", last).strip("-._")[:64] or "model"


def _put_model(values: _Tree, environ: Mapping[str, str]) -> list[str]:
    """MODEL alone is an engine; behind it stand OpenAI, where it is configured, and quotes."""
    alias = model_alias(environ)
    if alias is None:
        return []
    faults = _put(values, ("engines", alias, "model"), environ["MODEL"], "MODEL")
    hosted = ["openai/gpt-4o-mini"] if "openai" in (values.get("providers") or {}) else []
    models = values.setdefault("models", {})
    if isinstance(models, dict):
        models.setdefault(alias, [f"engine/{alias}", *hosted, "extractive"])
    return faults


def _read_file(path: Path) -> tuple[_Tree, list[str]]:
    """Return what a file holds, and what is wrong with how it says it."""
    try:
        values, repeated = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read the settings file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}, repeated
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold `section:` keys, not a {type(values).__name__}")
    return values, repeated


def _put_environment(values: _Tree, environ: Mapping[str, str]) -> list[str]:
    """Put over the file what the environment says; return what is wrong with it."""
    faults = []
    for name, path in _SHORT_NAMES.items():
        if environ.get(name):
            faults += _put(values, path, environ[name], name)
    for name, text in environ.items():
        if name.startswith(_PREFIX):
            path = tuple(name.removeprefix(_PREFIX).lower().split("__"))
            value, wrong = _env_value(name, text)
            faults += wrong or _put(values, path, value, name)
    return faults


def _env_value(name: str, text: str) -> tuple[object, list[str]]:
    """Parse lists and mappings as YAML; leave scalars to the type of the setting."""
    if text[:1] not in "[{":
        return text, []
    try:
        value, repeated = read_yaml(text)
    except yaml.YAMLError:
        return None, [f"{name}: starts like a YAML list or mapping but is not one"]
    return value, [f"{name}: {fault}" for fault in repeated]


def _put(values: _Tree, path: tuple[str, ...], value: object, name: str) -> list[str]:
    """Put a value where its path leads; return why it can't be put there."""
    node = values
    for depth, key in enumerate(path[:-1], 1):
        child = node.get(key)
        if child is None:
            child = node[key] = {}
        if not isinstance(child, dict):
            return [f"{'.'.join(path[:depth])}: must be a mapping, for {name} sets a part of it"]
        node = child
    node[path[-1]] = value
    return []


def _say_kinds(values: _Tree) -> None:
    """A provider called like a kind is of that kind: a key alone is enough for OpenAI."""
    providers = values.get("providers")
    for name, provider in (providers if isinstance(providers, dict) else {}).items():
        if name in get_args(Kind) and isinstance(provider, dict):
            provider.setdefault("kind", name)
