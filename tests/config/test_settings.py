"""Settings whose parts must fit each other."""

import json
from pathlib import Path
from typing import Any

import pytest

from config.errors import ConfigError
from config.load import load_settings
from config.settings import IssuerSettings

KEYCLOAK = {
    "issuer": "https://keycloak.example/realms/acme",
    "audience": "https://naru.example",
    "client": "acme-portal",
    "scope_claim": ["realm_access", "roles"],
    "scopes": {"hr": ["agents"]},
}
ENTRA = {
    "issuer": "https://login.microsoftonline.com/common/v2.0",
    "audience": "api://naru",
    "client_claim": "tid",
    "clients": {"7": "acme-entra"},
    "scope_claim": "roles",
    "scopes": {"Agents.Chat": ["agents", "inference"]},
}


def load(tmp_path: Path, *issuers: dict[str, Any]) -> tuple[IssuerSettings, ...]:
    file = tmp_path / "naru.yaml"
    file.write_text(json.dumps({"auth": {"issuers": issuers}}))  # JSON is YAML
    return load_settings(file, {}).auth.issuers


def test_issuers_are_read(tmp_path: Path) -> None:
    keycloak, entra = load(tmp_path, KEYCLOAK, ENTRA)
    assert keycloak.scope_claim == ("realm_access", "roles")
    assert entra.scope_claim == ("roles",)
    assert entra.client_claim == ("tid",)


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.example",
        "https://acme.example/",
        "https://Acme.example:443/a",
        "http://[::1]/",
    ],
)
def test_an_issuer_is_kept_character_by_character(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, KEYCLOAK | {"issuer": url})[0].issuer == url


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"issuer": "http://keycloak.example"}, "https"),
        ({"issuer": "http://127.0.0.1.example"}, "https"),
        ({"issuer": "https://keycloak.example?a=b"}, "issuer"),
        ({"issuer": "https://user@keycloak.example"}, "issuer"),
        ({"issuer": "keycloak.example"}, "issuer"),
        ({"client": None}, "set either client"),
        ({"client_claim": "tid", "clients": {"a": "b"}}, "set either client"),
        ({"client": None, "client_claim": "tid"}, "set either client"),
        ({"client": None, "clients": {"a": "b"}}, "set either client"),
        ({"client": "no such id!"}, "client"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": []}, "algorithms"),
        ({"scopes": {}}, "scopes"),
        ({"scopes": {"hr": ["everything"]}}, "scopes"),
        ({"scope_claim": []}, "scope_claim"),
        ({"audience": ""}, "audience"),
    ],
)
def test_an_issuer_that_can_not_be_meant_stops_the_start(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        load(tmp_path, KEYCLOAK | changes)


def test_two_issuers_share_neither_name_nor_client(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="listed twice"):
        load(tmp_path, KEYCLOAK, KEYCLOAK | {"client": "other"})
    with pytest.raises(ConfigError, match="clients of its own"):
        load(tmp_path, KEYCLOAK, ENTRA | {"clients": {"7": "acme-portal"}})


@pytest.mark.parametrize(
    "environ",
    [
        {"NARU__PUBLIC_URL": "https://user:hidden@naru.example"},
        {"NARU__DATABASE": "postgresql://user:hidden@db/naru"},
        {"NARU__AUTH__SECRET_KEY": "hidden"},
        {"NARU__REDIS__URL": "hidden://hidden"},
        {"NARU__DATABASE__URL": "hidden://hidden"},
        {"NARU__AUTH__SECRET_KEY": "hidden" * 6, "NARU__AUTH__ISSUERS": json.dumps([KEYCLOAK] * 2)},
        {"NARU__ENGINES__X__API_KEY": "hidden"},
        {"NARU__PROVIDERS__OPENAI": "hidden"},
    ],
)
def test_a_fault_is_explained_without_what_is_secret(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings(None, environ)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("slash", ["", "/"])
def test_this_service_is_no_foreign_issuer(tmp_path: Path, slash: str) -> None:
    file = tmp_path / "naru.yaml"
    ours = KEYCLOAK | {"issuer": f"https://naru.example{slash}"}
    file.write_text(json.dumps({"auth": {"issuers": [ours]}}))
    for url in ("https://naru.example", "https://NARU.example/"):
        with pytest.raises(ConfigError, match="is this service itself"):
            load_settings(file, {"NARU__PUBLIC_URL": url})
    assert load_settings(file, {"NARU__PUBLIC_URL": "https://other.example"})


@pytest.mark.parametrize("end", ["?a=b", "#a"])
def test_rfc8414_2_the_public_url_is_an_issuer(end: str) -> None:
    with pytest.raises(ConfigError, match="public_url"):
        load_settings(None, {"NARU__PUBLIC_URL": f"https://naru.example/{end}"})
    with pytest.raises(ConfigError, match="public_url"):
        load_settings(None, {"NARU__PUBLIC_URL": "https://user:word@naru.example"})


def audiences(uri: str) -> tuple[str, ...]:
    return load_settings(None, {"NARU__AUTH__AUDIENCES": json.dumps([uri])}).auth.audiences


@pytest.mark.parametrize("uri", ["https://API.example", "https://api.example/", "urn:acme:api"])
def test_an_audience_is_kept_character_by_character(uri: str) -> None:
    assert audiences(uri) == (uri,)


@pytest.mark.parametrize("uri", ["api.example", "/api", "https://api.example#a", "https://a b", ""])
def test_an_audience_is_an_absolute_uri_without_a_fragment(uri: str) -> None:
    with pytest.raises(ConfigError, match="audiences"):
        audiences(uri)


def test_metrics_have_a_port_of_their_own_or_none() -> None:
    with pytest.raises(ConfigError, match=r"telemetry\.metrics_port: take another one"):
        load_settings(environ={"NARU__TELEMETRY__METRICS_PORT": "8080"})
    assert load_settings(environ={"NARU__TELEMETRY__METRICS_PORT": "9090"}).telemetry.metrics_port


def test_content_is_for_who_exports() -> None:
    with pytest.raises(ConfigError, match="content: goes with an exporter only"):
        load_settings(environ={"NARU__TELEMETRY__CONTENT": "true"})
