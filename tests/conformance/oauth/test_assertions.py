"""`private_key_jwt`: RFC 7521 section 4.2, RFC 7523 section 3, and what RFC 10070 tightens."""

import json
import re
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from oauth_support import (
    ASSERTION_TYPE,
    GRANT,
    Registered,
    Site,
    encode,
    error_of,
    public,
    seen,
    sign,
    sign_with,
)

KEY = ECKey.generate_key("P-256", {"kid": "k1"})
SECOND = ECKey.generate_key("P-384", {"kid": "k2"})
UNREGISTERED = ECKey.generate_key("P-256", {"kid": "k1"})
Members = dict[str, Any]


@pytest.fixture
async def signer(site: Site) -> Registered:
    """A client that may sign with ES256 alone, though it has a key for ES384 too."""
    return await site.register(
        auth_methods=["private_key_jwt"],
        jwks=json.dumps({"keys": [public(KEY), public(SECOND)]}),
        assertion_algorithms=["ES256"],
    )


def claims_of(client: Registered, **changes: Any) -> Members:
    now = int(time.time())
    claims = {"iss": client.id, "sub": client.id, "aud": client.site.issuer}
    return claims | {"iat": now, "exp": now + 60, "jti": uuid.uuid4().hex} | changes


def asserted(client: Registered, header: Members | None = None, **claims: Any) -> str:
    """A good assertion with these changes; a member of None is left out."""
    members = {"alg": "ES256", "typ": "client-authentication+jwt", "kid": "k1"} | (header or {})
    return sign(members, claims_of(client, **claims), KEY)


async def present(http: httpx.AsyncClient, assertion: str, **others: str) -> httpx.Response:
    form = GRANT | {"client_assertion": assertion, "client_assertion_type": ASSERTION_TYPE}
    return await http.post("/oauth/token", data=form | others)


async def test_the_documented_example_works(signer: Registered) -> None:
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(example, names)
    made = names["assertion"](signer.site.issuer, signer.id, KEY.as_pem(private=True).decode())
    assert (await present(signer.site.http, made)).status_code == 200
    assert (await present(signer.site.http, made)).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"typ": None},
        {"typ": "application/client-authentication+jwt"},
        {"kid": None},
        {"jku": "https://attacker.example/keys", "x5u": "https://attacker.example/chain"},
    ],
)
async def test_rfc7523_3_a_client_may_sign_who_it_is(signer: Registered, header: Members) -> None:
    answer = await present(signer.site.http, asserted(signer, header))
    assert answer.status_code == 200


async def test_rfc7521_4_2_an_assertion_works_on_every_endpoint(signer: Registered) -> None:
    http = signer.site.http
    token = (await present(http, asserted(signer))).json()["access_token"]
    for endpoint in ("introspect", "revoke"):
        form = {"token": token, "client_assertion_type": ASSERTION_TYPE}
        form["client_assertion"] = asserted(signer)
        assert (await http.post(f"/oauth/{endpoint}", data=form)).status_code == 200


async def test_rfc10070_the_issuer_is_the_only_audience(signer: Registered) -> None:
    http, issuer = signer.site.http, signer.site.issuer
    assert (await present(http, asserted(signer, aud=[issuer]))).status_code == 200
    for audience in (
        f"{issuer}/oauth/token",
        f"{issuer}/",
        [issuer, f"{issuer}/oauth/token"],
        [issuer, issuer],
        [],
        None,
        {"aud": issuer},
    ):
        answer = await present(http, asserted(signer, aud=audience))
        assert (answer.status_code, error_of(answer)) == (401, "invalid_client")


async def test_rfc10070_the_type_is_client_authentication_or_absent(signer: Registered) -> None:
    for typ in ("JWT", "at+jwt", "dpop+jwt", "", 1):
        answer = await present(signer.site.http, asserted(signer, {"typ": typ}))
        assert (answer.status_code, error_of(answer)) == (401, "invalid_client")


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "another"},
        {"sub": "another"},
        {"iss": None},
        {"sub": None},
        {"jti": None},
        {"jti": ""},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": -1},
        {"exp": 10**400},
    ],
)
async def test_rfc7523_3_a_claim_that_lacks_or_lies_is_refused(
    signer: Registered, change: Members
) -> None:
    answer = await present(signer.site.http, asserted(signer, **change))
    assert (answer.status_code, error_of(answer)) == (401, "invalid_client")


async def test_rfc7523_3_an_assertion_lives_for_five_minutes_at_most(signer: Registered) -> None:
    now = int(time.time())
    http = signer.site.http
    assert (await present(http, asserted(signer, exp=now + 300))).status_code == 200
    for times in ({"exp": now + 330}, {"exp": now - 1}, {"nbf": now + 90}, {"iat": now + 90}):
        answer = await present(http, asserted(signer, **times))
        assert (answer.status_code, error_of(answer)) == (401, "invalid_client")


async def test_rfc7523_3_an_assertion_counts_once_over_all_replicas(signer: Registered) -> None:
    assertion = asserted(signer)
    assert (await present(signer.site.http, assertion)).status_code == 200
    for http in (signer.site.other, signer.site.http):
        answer = await present(http, assertion)
        assert (answer.status_code, error_of(answer)) == (401, "invalid_client")


async def test_a_refused_assertion_does_not_use_up_the_id(signer: Registered) -> None:
    jti = uuid.uuid4().hex
    forged = sign({"alg": "ES256"}, claims_of(signer, jti=jti), UNREGISTERED)
    assert (await present(signer.site.http, forged)).status_code == 401
    assert (await present(signer.site.http, asserted(signer, jti=jti))).status_code == 200


async def test_one_client_can_not_use_up_the_ids_of_another(site: Site, signer: Registered) -> None:
    other = await site.register(
        auth_methods=["private_key_jwt"],
        jwks=json.dumps({"keys": [public(KEY)]}),
        assertion_algorithms=["ES256"],
    )
    assert (await present(site.http, asserted(signer, jti="1"))).status_code == 200
    assert (await present(site.http, asserted(other, jti="1"))).status_code == 200


async def test_rfc8725_3_1_the_algorithm_is_one_the_client_is_registered_for(
    signer: Registered,
) -> None:
    claims = claims_of(signer)
    rsa = RSAKey.generate_key(2048)
    signed_input = f"{encode({'alg': 'none'})}.{encode(claims)}"
    for forged in (
        sign({"alg": "ES384", "kid": "k2"}, claims, SECOND, "ES384"),
        sign({"alg": "ES256", "kid": "k2"}, claims, SECOND, "ES384"),
        sign_with(KEY.as_pem(private=False), {"alg": "HS256", "kid": "k1"}, claims),
        sign({"alg": "RS256", "kid": "k1"}, claims, rsa, "RS256"),
        sign({"alg": "ES256", "kid": "k1"}, claims, UNREGISTERED),
        f"{signed_input}.",
        f"{signed_input}.{encode(b'x' * 64)}",
    ):
        answer = await present(signer.site.http, forged)
        assert (answer.status_code, error_of(answer)) == (401, "invalid_client")


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": public(UNREGISTERED)},
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/chain"},
        {"kid": "unknown"},
        {"kid": 1},
        {"crit": ["exp"], "exp": 1},
    ],
)
async def test_rfc8725_3_10_keys_and_demands_of_the_header_are_not_believed(
    signer: Registered, header: Members
) -> None:
    key = KEY if {"crit", "kid"} & header.keys() else UNREGISTERED
    forged = sign({"alg": "ES256"} | header, claims_of(signer), key)
    answer = await present(signer.site.http, forged)
    assert (answer.status_code, error_of(answer)) == (401, "invalid_client")


async def test_rfc8725_2_4_a_member_that_stands_twice_is_refused(signer: Registered) -> None:
    claims = json.dumps(claims_of(signer))[:-1] + f', "sub": "{signer.id}"}}'
    text = f"{encode({'alg': 'ES256', 'kid': 'k1'})}.{encode(claims.encode())}"
    signature = JWSRegistry.algorithms["ES256"].sign(text.encode(), KEY)
    answer = await present(signer.site.http, f"{text}.{encode(signature)}")
    assert (answer.status_code, error_of(answer)) == (401, "invalid_client")


async def test_every_algorithm_that_is_advertised_works(site: Site) -> None:
    document = (await site.http.get("/.well-known/oauth-authorization-server")).json()
    advertised = document["token_endpoint_auth_signing_alg_values_supported"]
    curves = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
    for algorithm in advertised:
        key: ECKey | OKPKey | RSAKey
        if algorithm in curves:
            key = ECKey.generate_key(curves[algorithm])
        elif algorithm in {"EdDSA", "Ed25519"}:
            key = OKPKey.generate_key("Ed25519")
        else:
            key = RSAKey.generate_key(2048)
        client = await site.register(
            auth_methods=["private_key_jwt"],
            jwks=json.dumps({"keys": [public(key)]}),
            assertion_algorithms=[algorithm],
        )
        by = "Ed25519" if algorithm == "EdDSA" else algorithm
        assertion = sign({"alg": algorithm}, claims_of(client), key, by)
        assert (await present(site.http, assertion)).status_code == 200


async def test_rfc7521_4_2_the_type_of_the_assertion_is_named(signer: Registered) -> None:
    for kind in (None, "", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"):
        form = GRANT | {"client_assertion": asserted(signer)}
        form |= {} if kind is None else {"client_assertion_type": kind}
        answer = await signer.site.http.post("/oauth/token", data=form)
        assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


async def test_rfc7521_4_2_a_client_id_in_the_body_is_the_subject(signer: Registered) -> None:
    http = signer.site.http
    assert (await present(http, asserted(signer), client_id=signer.id)).status_code == 200
    answer = await present(http, asserted(signer), client_id="another")
    assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


async def test_whatever_is_wrong_with_an_assertion_looks_like_an_unknown_client(
    signer: Registered, client: Registered
) -> None:
    http = signer.site.http
    answers = [
        await present(http, asserted(client, iss="nobody", sub="nobody")),
        await present(http, asserted(client)),
        await present(http, asserted(signer, aud="https://elsewhere.example")),
        await present(http, asserted(signer, {"alg": "none"})),
        await present(http, asserted(signer)[:-4]),
        await present(http, "a.b.c"),
        await present(http, "한글"),
        await present(http, "x" * 60_000),
    ]
    first, *others = map(seen, answers)
    assert error_of(answers[0]) == "invalid_client"
    assert others == [first] * len(others)
