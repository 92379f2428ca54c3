"""Settings: where they come from, and what is said when they can't work."""

from pathlib import Path

import pytest

from config.errors import ConfigError
from config.load import (
    engine_urls,
    load_settings,
    model_alias,
    model_sockets,
    starting_file,
)
from config.settings import ServerSettings, Settings


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "naru.yaml"


def fault(values: str, file: Path, **environ: str) -> str:
    file.write_text(values)
    with pytest.raises(ConfigError) as raised:
        load_settings(file, environ)
    return str(raised.value)


def test_without_a_file_everything_has_a_default(file: Path) -> None:
    assert load_settings(None, {}) == Settings()


def test_the_default_file_is_read_when_there_is_one(file: Path) -> None:
    file.write_text("server: {port: 9000}")
    assert load_settings(None, {}).server.port == 9000


def test_the_environment_names_another_file(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    file.write_text("server: {port: 9000}")
    other.write_text("server: {port: 9001}")
    assert load_settings(None, {"NARU_CONFIG": str(other)}).server.port == 9001
    assert load_settings(file, {"NARU_CONFIG": str(other)}).server.port == 9000


def test_long_names_win_over_short_ones_and_both_over_the_file(file: Path) -> None:
    file.write_text("server: {port: 9000, host: 10.0.0.1}")
    environ = {"PORT": "9001", "HOST": "10.0.0.2", "NARU__SERVER__PORT": "9002"}
    server = load_settings(file, environ).server
    assert (server.host, server.port) == ("10.0.0.2", 9002)


def test_lists_and_mappings_in_the_environment_are_yaml(file: Path) -> None:
    environ = {"NARU__EMBEDDING__LANGUAGES": "[en, ko]", "NARU__MODELS": "{fast: [extractive]}"}
    settings = load_settings(None, environ)
    assert settings.embedding.languages == ("en", "ko")
    assert [rung.target for rung in settings.models["fast"].targets] == ["extractive"]


def test_an_openai_key_alone_makes_the_provider(file: Path) -> None:
    provider = load_settings(None, {"OPENAI_API_KEY": "sk-1"}).providers["openai"]
    assert str(provider.base_url) == "https://api.openai.com/v1"
    assert provider.api_key is not None
    assert provider.api_key.get_secret_value() == "sk-1"


def test_every_fault_is_told_at_once(file: Path) -> None:
    said = fault("{server: {prot: 1, port: 0}, redis: {urls: x}, nothing: 1}", file)
    assert said.startswith("the settings need 4 change(s):")
    assert "server.prot: no such setting; did you mean `port`?" in said
    assert "server.port: must be greater than or equal to 1, not 0" in said
    assert "redis.urls: no such setting; did you mean `url`?" in said
    assert "nothing: no such setting" in said


def test_a_secret_is_never_repeated(file: Path) -> None:
    said = fault("{auth: {secret_key: [hunter2]}, database: {url: [hunter2]}}", file)
    assert "auth.secret_key" in said
    assert "hunter2" not in said


def test_a_target_of_an_unknown_provider_is_told(file: Path) -> None:
    said = fault("{models: {fast: [local/qwen, extractive]}}", file)
    assert "models.fast: no provider `local` is configured; add providers.local.base_url" in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server: [", "is not valid YAML"),
        ("- a\n- b", "must hold `section:` keys, not a list"),
        ("server: 1", "server: "),
    ],
)
def test_a_broken_file_is_one_line(file: Path, text: str, expected: str) -> None:
    assert expected in fault(text, file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can't read the settings file .*No such file"):
        load_settings(tmp_path / "missing.yaml", {})


def test_a_broken_list_in_the_environment_is_told(file: Path) -> None:
    with pytest.raises(ConfigError, match="NARU__MODELS: starts like a YAML list or mapping"):
        load_settings(None, {"NARU__MODELS": "{fast: "})


def test_the_workers_listen_where_the_parent_says() -> None:
    assert model_sockets({"NARU_MODEL_SOCKETS": "/run/x"}) == Path("/run/x")
    with pytest.raises(ConfigError, match="naru serve"):
        model_sockets({})


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("fe80::1", "http://[fe80::1]:80"),
        ("naru.example", "http://naru.example:80"),
    ],
)
def test_the_url_is_one_that_reaches_the_service(host: str, url: str) -> None:
    assert ServerSettings(host=host, port=80).url == url


def test_the_issuer_is_the_public_url_without_its_slash() -> None:
    assert (
        Settings.model_validate({"public_url": "https://a.example/"}).issuer == "https://a.example"
    )
    assert Settings().issuer == "http://127.0.0.1:8080"


def test_a_ladder_is_a_list_or_says_more(file: Path) -> None:
    file.write_text("""
providers:
  anthropic: {api_keys: [a, b]}
  ours: {kind: azure, base_url: "https://us.example/openai/v1", api_version: preview}
engines:
  qwen: {urls: ["https://gpu.example/v1"]}
models:
  short: [engine/qwen, engine/qwen/adapter, anthropic/claude, extractive]
  long:
    targets: [{target: engine/qwen, weight: 9}, {target: ours/gpt, weight: 1}]
    residency: local
    ttft_objective_s: 1.5
    continuation: true
""")
    settings = load_settings(file, {})
    assert str(settings.providers["anthropic"].base_url) == "https://api.anthropic.com/v1"
    assert len(settings.models["short"].targets) == 4
    long = settings.models["long"]
    assert [rung.weight for rung in long.targets] == [9, 1]
    assert (long.residency, long.ttft_objective_s, long.continuation) == ("local", 1.5, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: {x: [engine/none]}", "no engine `none`"),
        ("models: {x: {targets: []}}", "models.x.targets"),
        ("models: {x: [{target: extractive, weight: 0}]}", "weight"),
        ("providers: {anthropic: {api_key: a, api_keys: [b]}}", "set one of"),
        ("providers: {bedrock: {api_key: a}}", "base_url"),
    ],
)
def test_a_ladder_that_can_not_be(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(file, {})


@pytest.mark.parametrize(
    ("model", "alias"),
    [
        ("Qwen/Qwen3-4B", "Qwen3-4B"),
        ("/models/my model (v2)/", "my-model-v2"),
        ("org/한국어", "model"),
        ("org/_x_", "x"),
        ("gpt2", "gpt2"),
        ("org/" + "a" * 99, "a" * 64),
        ("", None),
    ],
)
def test_a_model_is_called_by_its_last_part_made_fit(model: str, alias: str | None) -> None:
    assert model_alias({"MODEL": model}) == alias


def test_a_folder_is_called_by_its_name(file: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    assert model_alias({"MODEL": "./tiny/"}) == "tiny"
    assert model_alias({"MODEL": "."}) == tmp_path.name


def test_model_alone_is_an_engine_and_a_ladder(file: Path) -> None:
    file.write_text("engines: {Qwen3-4B: {args: {max-model-len: 4096}}}")
    settings = load_settings(file, {"MODEL": "Qwen/Qwen3-4B"})
    assert settings.engines["Qwen3-4B"].model == "Qwen/Qwen3-4B"
    assert settings.engines["Qwen3-4B"].args == {"max-model-len": 4096}
    targets = [rung.target for rung in settings.models["Qwen3-4B"].targets]
    assert targets == ["engine/Qwen3-4B", "extractive"]


def test_behind_model_stands_openai_where_there_is_a_key(file: Path) -> None:
    settings = load_settings(None, {"MODEL": "Qwen/Qwen3-4B", "OPENAI_API_KEY": "sk"})
    targets = [rung.target for rung in settings.models["Qwen3-4B"].targets]
    assert targets == ["engine/Qwen3-4B", "openai/gpt-4o-mini", "extractive"]


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("{}", "engines.q: set either model or urls"),
        ("{model: m, urls: [http://a/v1]}", "set either model or urls"),
        ("{model: m, api_key: k}", "api_key goes with urls only"),
        ("{urls: [http://a/v1], args: {x: 1}}", "args goes with model only"),
        ("{urls: [ftp://a]}", "engines.q.urls.0: "),
        ("{urls: [http://user:pass@a/v1]}", "engines.q.urls.0: "),
        ("{model: m, device: tpu}", "must be 'auto', 'cpu' or 'cuda'"),
    ],
)
def test_an_engine_is_started_or_elsewhere(file: Path, engine: str, expected: str) -> None:
    assert expected in fault(f"engines: {{q: {engine}}}", file)


def test_a_provider_may_not_be_called_engine(file: Path) -> None:
    said = fault("providers: {engine: {base_url: 'http://a/v1'}}", file)
    assert "providers.engine: this name stands for engines" in said


def test_processes_learn_from_their_parent_where_engines_listen() -> None:
    assert engine_urls({}) == {}
    assert engine_urls({"NARU_ENGINE_SOCKETS": '{"q": ["unix:///s"]}'}) == {"q": ("unix:///s",)}
    assert starting_file({}) is None
    assert starting_file({"NARU_STARTING_FILE": "/f"}) == Path("/f")
