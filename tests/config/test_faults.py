"""What is said of settings that can't work: every fault at once, each in one line."""

from pathlib import Path

import pytest

from config.errors import ConfigError
from config.load import load_settings


def faults(folder: Path, text: str, *, look_at_files: bool = True, **environ: str) -> list[str]:
    """Return the lines that are told of a settings file."""
    file = folder / "naru.yaml"
    file.write_text(text)
    environ = {"NARU__DATA_DIR": str(folder / "data"), **environ}
    with pytest.raises(ConfigError) as raised:
        load_settings(file, environ, look_at_files=look_at_files)
    head, *lines = str(raised.value).split("\n")
    assert head == f"the settings need {len(lines)} change(s):"
    return [line.removeprefix("  ") for line in lines]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "auth: {secret_key: short}",
            "auth.secret_key: the secret key needs at least 32 characters",
        ),
        (
            "auth: {secret_key_file: /nonexistent}",
            "auth.secret_key_file: can't read /nonexistent: No such file or directory",
        ),
        (
            "auth: {secret_key_file: /}",
            "auth.secret_key_file: can't read /: Is a directory",
        ),
        (
            "auth: {secret_key_file: /dev/null}",
            "auth.secret_key_file: the secret key needs at least 32 characters",
        ),
        (
            'providers: {x: {base_url: "http://x/v1", api_keys_file: /nonexistent}}',
            "providers.x.api_keys_file: can't read /nonexistent: No such file or directory",
        ),
        (
            'providers: {x: {base_url: "http://x/v1", api_keys_file: /dev/null}}',
            "providers.x.api_keys_file: there is no key in /dev/null",
        ),
        (
            'engines: {q: {urls: ["https://x/v1"], ca_file: /nonexistent}}',
            "engines.q.ca_file: can't read /nonexistent: No such file or directory",
        ),
        (
            'engines: {q: {urls: ["https://x/v1"], ca_file: /dev/null}}',
            "engines.q.ca_file: there is no certificate in /dev/null",
        ),
        (
            'embedding: {url: "http://x/v1", tokenizer: /nonexistent}',
            "embedding.tokenizer: can't read /nonexistent: No such file or directory",
        ),
    ],
)
def test_a_secret_or_a_file_of_no_use_is_a_fault_of_the_settings(
    tmp_path: Path, text: str, told: str
) -> None:
    assert faults(tmp_path, text) == [told]


def test_it_is_told_beside_the_others(tmp_path: Path) -> None:
    text = """
auth: {secret_key: short}
providers: {x: {base_url: "http://x/v1", api_keys_file: /nonexistent}}
server: {prot: 1}
"""
    assert [line.partition(":")[0] for line in faults(tmp_path, text)] == [
        "server.prot",
        "auth.secret_key",
        "providers.x.api_keys_file",
    ]


def test_who_does_not_read_files_is_not_told_of_them(tmp_path: Path) -> None:
    file = tmp_path / "naru.yaml"
    file.write_text("auth: {secret_key_file: /nonexistent}")
    path = load_settings(file, {}, look_at_files=False).auth.secret_key_file
    assert path == Path("/nonexistent")
    assert len(faults(tmp_path, "auth: {secret_key: short}", look_at_files=False)) == 1


def test_the_key_that_an_earlier_start_made_is_looked_at(tmp_path: Path) -> None:
    key = tmp_path / "data" / "secret.key"
    key.parent.mkdir()
    key.write_text("cut off")
    assert faults(tmp_path, "") == [f"{key}: the secret key needs at least 32 characters"]
    environ = {"NARU__DATA_DIR": str(key.parent), "NARU__AUTH__SECRET_KEY": "x" * 32}
    assert load_settings(tmp_path / "naru.yaml", environ)
    key.write_text("x" * 32)
    assert load_settings(tmp_path / "naru.yaml", {"NARU__DATA_DIR": str(key.parent)})


@pytest.mark.parametrize("url", ["http://x", "x", "", "redis://x:port", "redis://x:99999"])
def test_a_redis_url_is_one(tmp_path: Path, url: str) -> None:
    (told,) = faults(tmp_path, f'redis: {{url: "{url}"}}')
    assert told.startswith("redis.url: write redis://USER:PASSWORD@HOST:PORT/0")


@pytest.mark.parametrize(
    "url", ["redis://x", "rediss://u:p@x:6380/2", "unix:///run/redis.sock?db=1"]
)
def test_every_way_to_redis_may_be_written(url: str) -> None:
    assert load_settings(None, {"REDIS_URL": url}).redis.url


@pytest.mark.parametrize("url", ["mysql://x/y", "host=x", ""])
def test_a_database_url_is_one(tmp_path: Path, url: str) -> None:
    (told,) = faults(tmp_path, f'database: {{url: "{url}"}}')
    assert told == "database.url: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


def test_references_are_told_beside_what_is_wrong_elsewhere(tmp_path: Path) -> None:
    text = "{server: {prot: 1}, models: {a: [nope/x]}, masking: {models: {nosuch: {}}}}"
    assert [line.partition(":")[0] for line in faults(tmp_path, text)] == [
        "server.prot",
        "models.a",
        "masking.models.nosuch",
    ]


def test_no_reference_to_what_is_at_fault_itself_is_told(tmp_path: Path) -> None:
    (told,) = faults(tmp_path, "{providers: {nope: {}}, models: {a: [nope/x]}}")
    assert told.startswith("providers.nope.base_url: ")


def test_a_target_is_refused_once_and_in_words(tmp_path: Path) -> None:
    assert faults(tmp_path, "models: {a: [b]}") == [
        "models.a.targets.0.target: write `engine/NAME`, `PROVIDER/MODEL` or `extractive`, not 'b'"
    ]
    assert faults(tmp_path, "models: {a: [{target: extractive, weight: 0}]}") == [
        "models.a.targets.0.weight: must be greater than 0, not 0"
    ]
    (empty,) = faults(tmp_path, "models: {a: []}")
    assert empty.startswith("models.a.targets: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: {a b: [extractive]}", "models.a b: write an alias of up to 128 letters, "),
        ("engines: {a b: {model: m}}", "engines.a b: write a name of up to 64 letters, "),
        ("providers: {A: {base_url: 'http://x/v1'}}", "providers.A: write a name of up to 64 "),
    ],
)
def test_names_are_refused_in_words(tmp_path: Path, text: str, told: str) -> None:
    (line,) = faults(tmp_path, text)
    assert line.startswith(told)


def test_an_unknown_kind_of_personal_data_is_one_fault(tmp_path: Path) -> None:
    (told,) = faults(tmp_path, "masking: {egress: {phon: mask}}")
    assert told.startswith("masking.egress.phon: must be 'resident_number', ")
    assert told.endswith(" or 'default', not 'phon'")


def test_faults_of_the_environment_are_told_together(tmp_path: Path) -> None:
    environ = {"NARU__SERVER__PRT": "3", "NARU__MODELS__A": "[x", "NARU__REDIS": "{url: 1, url: 2}"}
    assert faults(tmp_path, "", **environ) == [
        "NARU__MODELS__A: starts like a YAML list or mapping but is not one",
        "NARU__REDIS: url: stands twice, in lines 1 and 1",
        "server.prt: no such setting; did you mean `port`?",
    ]


@pytest.mark.parametrize(
    ("text", "environ", "told"),
    [
        ("server: [1]", {"PORT": "9000"}, "server: must be a mapping, for PORT sets a part of it"),
        (
            "models: {a: [extractive]}",
            {"NARU__MODELS__A__RESIDENCY": "local"},
            "models.a: must be a mapping, for NARU__MODELS__A__RESIDENCY sets a part of it",
        ),
        ("engines: 1", {"MODEL": "m"}, "engines: must be a mapping, for MODEL sets a part of it"),
    ],
)
def test_what_the_environment_can_not_be_put_into_is_told(
    tmp_path: Path, text: str, environ: dict[str, str], told: str
) -> None:
    assert told in faults(tmp_path, text, **environ)


def test_a_section_without_a_value_may_be_filled_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "naru.yaml"
    file.write_text("server:")
    assert load_settings(file, {"PORT": "9000"}).server.port == 9000


@pytest.mark.parametrize("path", ["/path", "/path/"])
def test_the_public_url_has_no_path(tmp_path: Path, path: str) -> None:
    assert faults(tmp_path, f"public_url: https://x.example{path}") == [
        "public_url: leave out the path: what callers discover stands at /"
    ]


def test_a_key_is_published_for_longer_than_the_old_ones_are_cached(tmp_path: Path) -> None:
    assert faults(tmp_path, "auth: {key_lead_s: 300}") == [
        "auth.key_lead_s: must be greater than 300"
    ]


@pytest.mark.parametrize("code", ["korean", "jp", "EN", "en-US", ""])
def test_a_language_is_an_iso_639_1_code(tmp_path: Path, code: str) -> None:
    assert faults(tmp_path, f'embedding: {{languages: [en, "{code}"]}}') == [
        f"embedding.languages.1: write an ISO 639-1 code, such as en, ko or ja, not {code!r}"
    ]
