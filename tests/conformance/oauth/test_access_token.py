"""Access tokens as RFC 9068 wants them, read by validators that are not ours."""

import time
from typing import Any

import jwt
import pytest
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import KeySet
from oauth_support import Registered, Site, parts_of


async def published(site: Site) -> dict[str, Any]:
    """The JWK Set, found as a resource server finds it."""
    document = (await site.http.get("/.well-known/oauth-authorization-server")).json()
    return dict((await site.http.get(document["jwks_uri"])).json())


async def test_rfc9068_2_1_the_header_says_at_jwt_and_names_the_key(client: Registered) -> None:
    header, _ = parts_of(await client.token())
    kids = [key["kid"] for key in (await published(client.site))["keys"]]
    assert set(header) == {"alg", "kid", "typ"}
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    assert header["kid"] in kids


async def test_rfc9068_2_2_every_required_claim_is_there(client: Registered) -> None:
    _, claims = parts_of(await client.token(scope="agents"))
    assert claims["iss"] == claims["aud"] == client.site.issuer
    assert claims["sub"] == claims["client_id"] == client.id
    assert claims["scope"] == "agents"
    assert claims["tenant"] == "acme"
    assert abs(claims["iat"] - time.time()) < 10
    assert claims["exp"] == claims["iat"] + 900
    assert claims["jti"]


async def test_rfc9068_2_2_no_two_tokens_share_an_id(client: Registered) -> None:
    tokens = [await client.token() for _ in range(3)]
    assert len({parts_of(token)[1]["jti"] for token in tokens}) == 3


async def test_rfc9068_4_authlibs_validator_accepts_the_token(client: Registered) -> None:
    keys = KeySet.import_key_set(await published(client.site))

    class Validator(JWTBearerTokenValidator):  # type: ignore[misc]
        def get_jwks(self) -> KeySet:
            return keys

    validator = Validator(issuer=client.site.issuer, resource_server=client.site.issuer)
    token = validator.authenticate_token(await client.token())
    validator.validate_token(token, ["agents"], None)
    assert token["client_id"] == client.id


async def test_rfc7519_7_2_pyjwt_accepts_the_token(client: Registered) -> None:
    text = await client.token()
    keys = jwt.PyJWKSet.from_dict(await published(client.site))
    claims = jwt.decode(
        text,
        keys[jwt.get_unverified_header(text)["kid"]],
        algorithms=["ES256"],
        issuer=client.site.issuer,
        audience=client.site.issuer,
        options={"require": ["iss", "aud", "sub", "exp", "iat", "jti", "client_id"]},
    )
    assert claims["client_id"] == client.id


@pytest.mark.parametrize(
    ("column", "value", "claim"),
    [
        ("allowed_agents", ["hr"], {"allowed": {"agents": ["hr"]}}),
        ("end_user", "required", {"end_user": "required"}),
        ("role", "viewer", {"roles": ["viewer"]}),
    ],
)
async def test_the_token_carries_the_clients_limits(
    site: Site, column: str, value: object, claim: dict[str, Any]
) -> None:
    client = await site.register(**{column: value})
    _, claims = parts_of(await client.token())
    assert claims == claims | claim
