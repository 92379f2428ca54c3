"""What the service says of itself: RFC 8414, RFC 9728, RFC 7517."""

from typing import Any

import httpx
import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata
from oauth_support import Site, error_of

SERVER = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
RESOURCE = "/.well-known/oauth-protected-resource"
METHODS = {"client_secret_basic", "client_secret_post", "private_key_jwt"}


async def read(site: Site, path: str) -> dict[str, Any]:
    answer = await site.http.get(path)
    assert answer.status_code == 200
    assert "json" in answer.headers["content-type"]
    return dict(answer.json())


async def test_rfc8414_3_2_authlib_accepts_the_metadata(site: Site) -> None:
    document = await read(site, SERVER)

    metadata = AuthorizationServerMetadata(document)
    # A test has no https.
    for name in document.keys() - {"issuer", "jwks_uri"}:
        if name in metadata.REGISTRY_KEYS and not name.endswith("_endpoint"):
            getattr(metadata, f"validate_{name}")()
    assert document["issuer"] == site.issuer


async def test_rfc8414_2_every_endpoint_is_named_with_how_to_authenticate(site: Site) -> None:
    document = await read(site, SERVER)
    for name, path in (
        ("token", "token"),
        ("revocation", "revoke"),
        ("introspection", "introspect"),
    ):
        assert document[f"{name}_endpoint"] == f"{site.issuer}/oauth/{path}"
        assert set(document[f"{name}_endpoint_auth_methods_supported"]) == METHODS
        algorithms = document[f"{name}_endpoint_auth_signing_alg_values_supported"]
        assert "ES256" in algorithms
        assert not [each for each in algorithms if each.startswith(("HS", "none"))]
        answer = await site.http.post(document[f"{name}_endpoint"], data={"x": "y"})
        assert error_of(answer) == "invalid_request"


async def test_rfc8414_2_only_what_works_is_advertised(site: Site) -> None:
    document = await read(site, SERVER)
    assert document["grant_types_supported"] == ["client_credentials"]
    assert document["response_types_supported"] == ["none"]
    assert not [name for name, value in document.items() if value == []]
    assert "ES256" in document["dpop_signing_alg_values_supported"]
    assert not document.keys() & {
        *("authorization_endpoint", "registration_endpoint", "device_authorization_endpoint"),
        *("userinfo_endpoint", "end_session_endpoint", "code_challenge_methods_supported"),
    }


async def test_the_openid_document_is_the_same_and_leads_to_the_keys(site: Site) -> None:
    document = await read(site, OPENID)
    server = await read(site, SERVER)
    keys = (await site.http.get(document["jwks_uri"])).json()["keys"]
    assert document == server | {
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key["alg"] for key in keys}),
    }
    metadata = OpenIDProviderMetadata(document)
    metadata.validate_subject_types_supported()
    metadata.validate_response_types_supported()


async def test_the_openid_document_claims_no_openid_provider(site: Site) -> None:
    document = await read(site, OPENID)
    assert not document.keys() & {"authorization_endpoint", "userinfo_endpoint", "claims_supported"}
    assert "openid" not in document["scopes_supported"]


async def test_rfc9728_2_the_resource_names_its_server_and_its_scopes(site: Site) -> None:
    document = await read(site, RESOURCE)
    assert document["resource"] == site.issuer
    assert document["authorization_servers"] == [site.issuer]
    assert document["bearer_methods_supported"] == ["header"]
    assert document["scopes_supported"] == (await read(site, SERVER))["scopes_supported"]


async def test_rfc9728_5_1_the_challenge_names_the_resource_metadata(site: Site) -> None:
    challenge = (await site.http.get("/v1/models")).headers["www-authenticate"]
    assert f'resource_metadata="{site.issuer}{RESOURCE}"' in challenge


async def test_rfc7517_5_the_keys_are_public_and_say_what_they_are_for(site: Site) -> None:
    document = await read(site, SERVER)
    keys = (await site.http.get(document["jwks_uri"])).json()["keys"]
    assert keys
    for key in keys:
        assert key["kid"]
        assert (key["kty"], key["alg"], key["use"]) == ("EC", "ES256", "sig")
        assert not key.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"}


@pytest.mark.parametrize("path", [SERVER, OPENID, RESOURCE, "/oauth/jwks"])
async def test_documents_may_be_cached_for_minutes(site: Site, path: str) -> None:
    directives = (await site.http.get(path)).headers["cache-control"]
    assert "public" in directives
    seconds = int(directives.partition("max-age=")[2])
    # Shorter than a new key is published before it signs.
    assert 0 < seconds <= 600


@pytest.mark.parametrize("path", [SERVER, OPENID, RESOURCE, "/oauth/jwks"])
async def test_documents_can_only_be_read(site: Site, path: str) -> None:
    answer: httpx.Response = await site.http.post(path)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    # As its description says, under `/oauth/` in RFC 6749's shape, elsewhere in OpenAI's.
    described = (await read(site, "/schema/openapi.json"))["paths"][path]["get"]["responses"]
    schema = described["default"]["content"]["application/json"]["schema"]["$ref"]
    error = answer.json()["error"]
    assert schema.rpartition("/")[2] == ("OAuthError" if isinstance(error, str) else "Error")
