"""What a client can be, and which change takes a right away."""

import dataclasses
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from auth.errors import InvalidOption, RegistrationError
from auth.profile import Options, changed, new_client, takes_away, within
from config.scope import Allowed

P256, P256_TOO = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
ED, RSA = OKPKey.generate_key("Ed25519"), RSAKey.generate_key(2048)


def key_set(*keys: Any, private: bool = False) -> dict[str, Any]:
    return {"keys": [dict(key.as_dict(private=private)) for key in keys]}


def client(**options: Any) -> Any:
    return new_client("id", "acme", "name", Options(**options))


KEYED = {"auth_methods": ["private_key_jwt"], "jwks": key_set(P256, ED)}


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ({"role": "admin"}, {"role": "editor"}),
        ({}, {"scopes": ["inference"]}),
        ({}, {"auth_methods": ["client_secret_basic"]}),
        (KEYED, {"jwks": key_set(P256)}),
        (KEYED, {"assertion_algorithms": ["ES256", "EdDSA"], "jwks": key_set(P256, P256_TOO)}),
        ({}, {"dpop": True}),
        ({}, {"allowed_agents": ["hr"]}),
        ({"allowed_models": ["a", "b"]}, {"allowed_models": ["a", "c"]}),
        ({"allowed_vector_stores": ["a"]}, {"allowed_vector_stores": []}),
        ({}, {"end_user": "required"}),
        ({"end_user": "required"}, {"end_user": "forbidden"}),
        ({}, {"disabled": True}),
        (KEYED, {"auth_methods": ["client_secret_basic"]}),
        (
            {**KEYED, "assertion_algorithms": ["ES256", "EdDSA", "PS256"]},
            {"assertion_algorithms": ["ES256", "EdDSA"]},
        ),
    ],
)
def test_a_change_that_takes_something_away_is_known(before: dict[str, Any], changes: Any) -> None:
    old = client(**before)
    new = changed(old, changes)
    assert takes_away(old, new)
    assert not takes_away(new, new)


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ({}, {}),
        ({}, {"name": "another"}),
        ({}, {"role": "admin"}),
        ({"scopes": ["inference"]}, {"scopes": ["inference", "admin"]}),
        ({}, {"default_scopes": ["inference"]}),
        (KEYED, {"auth_methods": ["private_key_jwt", "client_secret_post"]}),
        ({}, {"jwks": key_set(RSA)}),
        (KEYED, {"jwks": key_set(ED, P256, P256_TOO)}),
        ({"dpop": True}, {"dpop": False}),
        ({"allowed_agents": ["a"]}, {"allowed_agents": ["b", "a"]}),
        ({"allowed_agents": ["a"]}, {"allowed_agents": None}),
        ({"end_user": "required"}, {"end_user": "optional"}),
        ({}, {"disabled": False}),
    ],
)
def test_a_change_that_gives_or_leaves_ends_nothing(before: dict[str, Any], changes: Any) -> None:
    old = client(**before)
    assert not takes_away(old, changed(old, changes))


def test_what_a_token_gets_by_default_follows_its_scopes() -> None:
    everything = client(scopes=["inference", "agents"])
    assert changed(everything, {"scopes": ["inference", "admin"]}).default_scopes == {
        *("inference", "admin")
    }
    some = client(scopes=["inference", "agents"], default_scopes=["agents"])
    assert changed(some, {"scopes": ["agents", "admin"]}).default_scopes == {"agents"}
    with pytest.raises(RegistrationError, match="a scope is needed: choose from inference"):
        changed(some, {"scopes": ["inference"]})


def test_a_viewer_writes_nothing() -> None:
    assert client(role="viewer").scopes == {"inference", "agents", "knowledge"}
    with pytest.raises(InvalidOption, match="take away knowledge:write"):
        client(role="viewer", scopes=["knowledge:write"])
    with pytest.raises(InvalidOption, match="a viewer changes nothing"):
        changed(client(), {"role": "viewer"})


def test_the_first_keys_may_use_what_fits_them_and_no_more_later() -> None:
    made = client(**KEYED)
    assert made.assertion_algorithms == {"ES256", "EdDSA"}
    with pytest.raises(InvalidOption, match="jwks key 0 signs with PS256, RS256"):
        changed(made, {"jwks": key_set(RSA)})
    pinned = changed(made, {"jwks": key_set(RSA), "assertion_algorithms": ["PS256"]})
    assert pinned.assertion_algorithms == {"PS256"}


@pytest.mark.parametrize(
    "jwks",
    [
        key_set(P256, private=True),
        {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]},
        {"keys": key_set(P256)["keys"] * 11},
        {"keys": [{**key_set(P256)["keys"][0], "use": "enc"}]},
        {"keys": [{**key_set(P256)["keys"][0], "alg": "RS256"}]},
        {"keys": [{**key_set(P256)["keys"][0], "kid": "a\0"}]},
        {"keys": [{**key_set(P256)["keys"][0], "kid": 1}]},
        {"keys": [{**key_set(P256)["keys"][0], "x": "AA"}]},
        {"keys": {}},
        {},
    ],
    ids=["private", "shared", "many", "enc", "alg", "nul", "kid", "point", "shape", "none"],
)
def test_keys_that_can_not_be_used_are_refused(jwks: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption) as caught:
        client(jwks=jwks)
    assert caught.value.param in ("jwks", "assertion_algorithms")
    secret = P256.as_dict(private=True)["d"]
    assert str(secret) not in str(caught.value)


def test_of_keys_only_what_is_used_is_kept() -> None:
    (jwk,) = key_set(P256)["keys"]
    made = client(jwks={"keys": [{**jwk, "x5c": ["MII"], "x5u": "https://evil.example"}], "a": 1})
    assert made.jwks == {"keys": [jwk]}


def test_lists_of_objects_are_compared_as_sets_of_what_is_allowed() -> None:
    all_, some, none = Allowed(), Allowed(agents=frozenset("ab")), Allowed(agents=frozenset())
    assert within(none, some)
    assert within(some, all_)
    assert within(all_, all_)
    assert not within(all_, some)
    assert not within(some, none)
    assert not within(some, dataclasses.replace(some, models=frozenset()))
