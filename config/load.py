"""Read the settings: one YAML file, then the environment over it; report every fault at once."""

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from config.errors import ConfigError
from config.guardrails import GuardrailRules
from config.settings import Settings
from config.targets import Kind

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


def load_settings(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings from a file and the environment.

    The file is `file`, else the one NARU_CONFIG names, else `naru.yaml` when there is one.
    Order of precedence: `NARU__SECTION__KEY`, short names such as `PORT`, the file, the defaults.

    Raises:
        ConfigError: One line per fault, each with its path and what to write instead.
    """
    environ = os.environ if environ is None else environ
    source = settings_file(file, environ)
    values = _read_file(source) if source else {}
    for name, path in _SHORT_NAMES.items():
        if environ.get(name):
            _put(values, path, environ[name])
    for name, text in environ.items():
        if name.startswith(_PREFIX):
            path = tuple(name.removeprefix(_PREFIX).lower().split("__"))
            _put(values, path, _env_value(name, text))
    _put_model(values, environ)
    _say_kinds(values)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        lines = "\n".join(f"  {_explain(detail)}" for detail in error.errors())
        raise ConfigError(f"the settings need {error.error_count()} change(s):\n{lines}") from None
    _check_references(settings)
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


def _put_model(values: _Tree, environ: Mapping[str, str]) -> None:
    """MODEL alone is an engine; behind it stand OpenAI, where it is configured, and quotes."""
    alias = model_alias(environ)
    if alias is None:
        return
    _put(values, ("engines", alias, "model"), environ["MODEL"])
    hosted = ["openai/gpt-4o-mini"] if "openai" in (values.get("providers") or {}) else []
    models = values.setdefault("models", {})
    if isinstance(models, dict):
        models.setdefault(alias, [f"engine/{alias}", *hosted, "extractive"])


def _read_file(path: Path) -> _Tree:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read the settings file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold `section:` keys, not a {type(values).__name__}")
    return values


def _env_value(name: str, text: str) -> object:
    """Parse lists and mappings as YAML; leave scalars to the type of the setting."""
    if text[:1] not in "[{":
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{name} starts like a YAML list or mapping but is not one") from None


def _put(values: _Tree, path: tuple[str, ...], value: object) -> None:
    node = values
    for key in path[:-1]:
        child = node.get(key)
        if not isinstance(child, dict):
            child = node[key] = {}
        node = child
    node[path[-1]] = value


def _say_kinds(values: _Tree) -> None:
    """A provider called like a kind is of that kind: a key alone is enough for OpenAI."""
    providers = values.get("providers")
    for name, provider in (providers if isinstance(providers, dict) else {}).items():
        if name in get_args(Kind) and isinstance(provider, dict):
            provider.setdefault("kind", name)


def _explain(detail: ErrorDetails) -> str:
    path = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), _siblings(detail["loc"]), n=1)
        return f"{path}: no such setting" + (f"; did you mean `{near[0]}`?" if near else "")
    message = detail["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
    given = f", not {detail['input']!r:.60}" if _is_harmless(path, detail) else ""
    return f"{path}: {message}{given}" if path else message + given


def _is_harmless(path: str, detail: ErrorDetails) -> bool:
    """Tell whether the value at fault may be shown: nothing secret, and no section with secrets."""
    if isinstance(detail["input"], dict | list) or detail["type"].endswith("_type"):
        return False
    return not any(word in path for word in ("key", "url"))


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """Return the names that were possible at `location`."""
    model: type[BaseModel] = Settings
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        candidates = [field.annotation, *get_args(field.annotation)]
        sections = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        model = sections[0] if sections else model
    return list(model.model_fields)


def _check_references(settings: Settings) -> None:
    missing = [
        f"  models.{alias}: {fault}"
        for alias, ladder in settings.models.items()
        for rung in ladder.targets
        if (fault := _missing(settings, rung.target))
    ]
    missing += _missing_judges(settings)
    if "engine" in settings.providers:
        missing.append("  providers.engine: this name stands for engines in `models`; take another")
    if missing:
        lines = "\n".join(missing)
        raise ConfigError(f"the settings need {len(missing)} change(s):\n{lines}")


def _missing_judges(settings: Settings) -> list[str]:
    """Return what the models that judge for guardrails lack."""
    rules = settings.guardrails
    sections: dict[str, GuardrailRules] = {
        "": rules,
        **{f".models.{name}": each for name, each in rules.models.items()},
        **{f".tenants.{name}": each for name, each in rules.tenants.items()},
    }
    named = {
        f"  guardrails{where}.judge.model": section.judge.model
        for where, section in sections.items()
        if section.judge
    }
    aliases = {"default", *settings.models, *settings.engines}
    return [
        f"{where}: no alias `{name}`; add models.{name}, or name a `provider/model`"
        for where, name in named.items()
        if name not in aliases and name.partition("/")[0] not in settings.providers
    ]


def _missing(settings: Settings, target: str) -> str | None:
    """Return what a target lacks in the settings."""
    kind, _, name = target.partition("/")
    if kind == "engine":
        engine = name.partition("/")[0]
        known = engine in settings.engines
        return None if known else f"no engine `{engine}` is configured; add engines.{engine}.model"
    if target == "extractive" or kind in settings.providers:
        return None
    return f"no provider `{kind}` is configured; add providers.{kind}.base_url"
