"""Bearer tokens at protected resources: RFC 6750, RFC 8725, RFC 9068 section 4."""

import base64
import json
import time
from typing import Any

import httpx
import pytest
from issuer_support import Issuer
from joserfc.jwk import ECKey, RSAKey
from oauth_support import (
    PROTECTED,
    Registered,
    Site,
    encode,
    parts_of,
    sign,
    sign_with,
    use,
)

import auth
from auth.token import issue

METADATA = "/.well-known/oauth-protected-resource"
ATTACKER = ECKey.generate_key("P-256")


async def ours(client: Registered, **changes: Any) -> str:
    """A token signed with the service's own key, with these changes to what it issues."""
    site = client.site
    found = await auth.find_client(site.identity, client.id)
    assert found is not None
    values: dict[str, Any] = {"issuer": site.issuer, "audience": site.issuer, "ttl_s": 60}
    return issue(site.keys, client=found, scope="agents", **(values | changes))


def resigned(client: Registered, typ: str = "at+jwt", **changes: Any) -> str:
    """A token with these claims and that type, signed with the service's own key."""
    now = int(time.time())
    site = client.site
    claims = {"iss": site.issuer, "aud": site.issuer, "sub": client.id, "client_id": client.id}
    claims |= {"iat": now, "exp": now + 60, "jti": "1", "scope": "agents", "tenant": "acme"}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return site.keys.sign(json.dumps(claims).encode(), typ=typ)


def challenge_of(answer: httpx.Response) -> str:
    (challenge,) = answer.headers.get_list("www-authenticate")
    assert 'resource_metadata="' in challenge
    return str(challenge)


async def refused(site: Site, token: str) -> bool:
    """Tell whether the token is refused as RFC 6750 section 3.1 says."""
    answer = await use(site.http, token)
    return answer.status_code == 401 and 'error="invalid_token"' in challenge_of(answer)


@pytest.mark.parametrize("authorization", [None, "Basic YTpi", "Token abc", "Bearerabc"])
async def test_rfc6750_3_1_without_credentials_the_challenge_has_no_error(
    site: Site, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = await site.http.get(PROTECTED, headers=headers)
    assert answer.status_code == 401
    assert challenge_of(answer).startswith("Bearer ")
    assert "error" not in challenge_of(answer)


async def test_rfc6750_3_1_a_scope_that_lacks_is_named(client: Registered) -> None:
    answer = await use(client.site.http, await client.token(scope="inference"))
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in challenge_of(answer)
    assert 'scope="agents"' in challenge_of(answer)


async def test_rfc6750_2_1_the_scheme_is_case_insensitive(client: Registered) -> None:
    headers = {"authorization": f"bearer {await client.token()}"}
    assert (await client.site.http.get(PROTECTED, headers=headers)).status_code == 200


async def test_rfc6750_3_1_two_ways_to_authenticate_are_an_invalid_request(
    client: Registered,
) -> None:
    twice = [("authorization", f"Bearer {await client.token()}")] * 2
    answer = await client.site.http.get(PROTECTED, headers=twice)
    assert answer.status_code == 400
    assert 'error="invalid_request"' in challenge_of(answer)


async def test_rfc6750_2_3_a_token_in_the_url_does_not_count(client: Registered) -> None:
    answer = await client.site.http.get(PROTECTED, params={"access_token": await client.token()})
    assert answer.status_code == 401


async def test_errors_of_resources_are_openais(site: Site) -> None:
    error = (await site.http.get(PROTECTED)).json()["error"]
    assert set(error) == {"message", "type", "param", "code"}


async def test_rfc8725_3_2_a_token_without_a_signature_is_refused(client: Registered) -> None:
    header, claims = parts_of(await client.token())
    for alg in ("none", "None", "NONE", ""):
        unsigned = f"{encode(header | {'alg': alg})}.{encode(claims)}"
        for signature in ("", encode(b"x" * 64)):
            assert await refused(client.site, f"{unsigned}.{signature}")


async def test_rfc7515_5_2_a_token_that_was_changed_is_refused(client: Registered) -> None:
    token = await client.token(scope="inference")
    header, claims, signature = token.split(".")
    raised = encode(parts_of(token)[1] | {"scope": "inference agents"})
    first = "B" if signature[0] == "A" else "A"
    for changed in (
        f"{header}.{raised}.{signature}",
        f"{header}.{claims}.{first}{signature[1:]}",
        f"{header}.{claims}.{signature[:-2]}",
        f"{header}.{claims}.{encode(bytes(64))}",
        f"{header}.{claims}",
        f"{header}.{claims}.{signature}.{signature}",
    ):
        assert await refused(client.site, changed)


async def test_rfc8725_3_1_the_key_decides_the_algorithm(client: Registered) -> None:
    """With the public key's bytes as a shared secret, in every form they are published in."""
    site = client.site
    header, claims = parts_of(await client.token())
    (jwk,) = [
        key
        for key in (await site.http.get("/oauth/jwks")).json()["keys"]
        if key["kid"] == header["kid"]
    ]
    public = ECKey.import_key(jwk)
    for secret in (
        public.as_pem(private=False),
        public.as_der(private=False),
        json.dumps(jwk).encode(),
        base64.urlsafe_b64decode(jwk["x"] + "="),
        b"",
    ):
        assert await refused(site, sign_with(secret, header | {"alg": "HS256"}, claims))


async def test_rfc8725_3_1_another_key_signs_nothing(client: Registered) -> None:
    site = client.site
    header, claims = parts_of(await client.token())
    rsa = RSAKey.generate_key(2048)
    attacker = ATTACKER.as_dict(private=False)
    for forged in (
        sign(header, claims, ATTACKER),
        sign(header | {"kid": "unknown"}, claims, ATTACKER),
        sign(header | {"kid": None}, claims, ATTACKER),
        sign(header | {"alg": "RS256"}, claims, rsa, "RS256"),
        sign(header | {"jwk": attacker}, claims, ATTACKER),
        sign(header | {"jwk": attacker, "kid": None}, claims, ATTACKER),
        sign(header | {"jku": "https://attacker.example/keys"}, claims, ATTACKER),
        sign(header | {"x5u": "https://attacker.example/chain"}, claims, ATTACKER),
    ):
        assert await refused(site, forged)


@pytest.mark.parametrize("typ", ["JWT", "at", "client-authentication+jwt", "dpop+jwt", ""])
async def test_rfc9068_4_only_access_tokens_are_access_tokens(client: Registered, typ: str) -> None:
    assert not await refused(client.site, resigned(client))
    assert await refused(client.site, resigned(client, typ=typ))


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in ("iss", "aud", "sub", "client_id", "iat", "exp", "jti")),
        *({name: None} for name in ("scope", "tenant")),
        {"iss": "https://elsewhere.example"},
        {"aud": "https://elsewhere.example"},
        {"aud": []},
        {"exp": int(time.time()) - 61},
        {"nbf": int(time.time()) + 86_400},
        {"iat": int(time.time()) + 86_400},
        {"exp": "never"},
        {"exp": 2**70},
        {"scope": ["agents"]},
    ],
)
async def test_rfc9068_4_every_claim_counts(client: Registered, change: dict[str, Any]) -> None:
    assert await refused(client.site, resigned(client, **change))


async def test_rfc8725_2_4_a_claim_that_stands_twice_is_refused(client: Registered) -> None:
    _, claims = parts_of(await client.token())
    doubled = json.dumps(claims)[:-1] + ', "tenant": "rival"}'
    assert await refused(client.site, client.site.keys.sign(doubled.encode(), typ="at+jwt"))


async def test_an_expired_token_is_refused_also_where_it_is_known(client: Registered) -> None:
    token = await ours(client, ttl_s=2)
    expires = parts_of(token)[1]["exp"]
    assert not await refused(client.site, token)
    while not await refused(client.site, token):
        assert time.time() < expires + 61, "more than 60 s of leeway"
    assert time.time() >= expires


@pytest.mark.parametrize(
    "token", ["x" * 65_536, "é" * 100, "a.b.c", "...", "{}", "e30.e30.", "\xff\xfe", "=", "~"]
)
async def test_any_token_is_refused_and_nothing_worse(site: Site, token: str) -> None:
    headers = {b"authorization": b"Bearer " + token.encode("latin-1")}
    answer = await site.http.get(PROTECTED, headers=headers)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in challenge_of(answer)


async def test_a_token_of_a_trusted_issuer_acts_as_its_client(site: Site, issuer: Issuer) -> None:
    """More of it in `tests/gateway/test_foreign_callers.py`."""
    now = int(time.time())
    claims = {"iss": issuer.url, "aud": "naru", "sub": "user-1", "iat": now, "exp": now + 60}
    claims |= {"azp": "portal", "scope": "chat"}
    good = issuer.sign(claims)
    assert (await use(site.http, good)).status_code == 200
    for bad in (
        issuer.sign(claims | {"aud": "another"}),
        issuer.sign(claims | {"exp": now - 120}),
        issuer.sign(claims, key=ATTACKER),
        issuer.sign(claims, {"jwk": ATTACKER.as_dict(private=False)}, key=ATTACKER),
        issuer.sign(claims | {"iss": "https://untrusted.example"}),
    ):
        assert await refused(site, bad)
    unmapped = issuer.sign(claims | {"scope": "agents"})
    assert (await use(site.http, unmapped)).status_code == 403
