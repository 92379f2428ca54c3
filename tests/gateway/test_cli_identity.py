"""`naru tenant`, `client`, `key` and `keys` on a real database, without a running service."""

import json

import asyncpg
import pytest
from joserfc.jwk import ECKey
from naru_command import Naru, database, naru

__all__ = ["database", "naru"]


def test_the_first_operator_is_made_and_stays(naru: Naru) -> None:
    made = naru.say(
        *("client", "create", "--name", "root", "--tenant", "platform"),
        *("--id", "root", "--role", "operator", "--scope", "admin"),
    )
    assert made.splitlines()[0] == "NARU_CLIENT_ID=root"
    assert naru.say("client", "list") == "root  platform  root  operator  admin"
    assert "last active operator" in naru.refuse("client", "disable", "root")
    assert "last active operator" in naru.refuse("tenant", "disable", "platform")


def test_a_client_through_its_life(naru: Naru) -> None:
    naru.say("tenant", "create", "acme", "--name", "Acme Inc.")
    assert "exists already" in naru.refuse("tenant", "create", "acme")
    naru.say("client", "create", "--name", "x", "--tenant", "acme", "--id", "app")
    keys = naru.folder / "keys.json"
    jwk = ECKey.generate_key("P-256").as_dict(private=False)
    keys.write_text(json.dumps({"keys": [jwk]}))
    naru.say(
        *("client", "update", "app", "--jwks", "keys.json", "--auth-method", "private_key_jwt"),
        *("--auth-method", "client_secret_basic", "--agent", "hr", "--end-user", "required"),
    )
    shown = naru.say("client", "show", "app")
    for text in (
        "auth_methods: client_secret_basic private_key_jwt",
        "end_user: required",
        "assertion_algorithms: ES256",
        "allowed: Allowed(agents=frozenset({'hr'}), models=None, vector_stores=None)",
    ):
        assert text in shown
    secret = naru.say("client", "rotate-secret", "app", "--overlap", "60")
    assert secret.removeprefix("NARU_CLIENT_SECRET=") not in naru.say("client", "show", "app")
    old, new = [
        line for line in naru.say("client", "show", "app").splitlines() if "secret-" in line
    ]
    assert "until" in old
    naru.say("client", "retire-secret", "app", old.partition(":")[0])
    assert "there is no secret" in naru.refuse("client", "retire-secret", "app", "secret-x")
    assert new in naru.say("client", "show", "app")
    naru.say("client", "update", "app", "--all-agents", "--no-dpop", "--name", "y")
    naru.say("client", "disable", "app")
    assert naru.say("client", "list", "--tenant", "acme").endswith("  disabled")
    naru.say("client", "enable", "app")
    assert naru.say("client", "list", "--tenant", "acme").startswith("app  acme  y  editor  agents")
    naru.say("tenant", "disable", "acme")
    assert naru.say("tenant", "list") == "acme  Acme Inc.  disabled"
    naru.say("tenant", "enable", "acme")


def test_an_api_key_through_its_life(naru: Naru) -> None:
    naru.say("client", "create", "--name", "x", "--id", "app")
    key = naru.say("key", "create", "--client", "app", "--name", "ci", "--scope", "agents")
    assert key.startswith("sk-naru-")
    listed = naru.say("key", "list", "--client", "app")
    assert listed.split("  ")[1:] == ["app", "ci", "agents"]
    naru.say("key", "disable", listed.split()[0])
    assert naru.say("key", "list").endswith("  disabled")


async def test_signing_keys_through_their_life(naru: Naru, database: str) -> None:
    first = naru.say("keys", "rotate", "--now")
    second = naru.say("keys", "rotate")
    assert [line.split()[:3] for line in naru.say("keys", "list").splitlines()] == [
        [second, "ES256", "next"],
        [first, "ES256", "signing"],
    ]
    naru.say("keys", "remove", first)
    owner = await asyncpg.connect(database)
    left = {row["kid"] for row in await owner.fetch("SELECT kid FROM signing_keys")}
    await owner.close()
    assert first not in left
    assert second in left
    assert "there is no signing key" in naru.refuse("keys", "remove", first)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["client", "show", "nobody"], "there is no client 'nobody'"),
        (["client", "create", "--name", "x", "--role", "owner"], "choose from viewer, editor"),
        (["client", "create", "--name", "x", "--scope", "root"], "can't grant root: choose from"),
        (["client", "create", "--name", "x", "--tenant", "a b"], "the tenant id 'a b'"),
        (["client", "create", "--name", "x", "--jwks", "none.json"], "can't read none.json"),
        (["client", "create", "--name", "x", "--end-user", "maybe"], "choose from forbidden"),
        (["key", "disable", "nothing"], "there is no API key 'nothing'"),
        (["tenant", "enable", "nobody"], "there is no tenant 'nobody'"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_a_fault_is_one_line(naru: Naru, arguments: list[str], said: str) -> None:
    assert said in naru.refuse(*arguments)


def test_a_file_without_a_key_set_is_told(naru: Naru) -> None:
    (naru.folder / "list.json").write_text("[1]")
    said = naru.refuse("client", "create", "--name", "x", "--jwks", "list.json")
    assert "list.json holds no JWK Set" in said
