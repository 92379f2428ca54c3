"""What verifying a request's credentials costs in process: `make bench-verify`.

One core, ES256, no network: the store is asked once for the API key and then stood in for.
"""

import asyncio
import datetime as dt
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import auth
from auth.clients import KEY_PREFIX
from auth.dpop import Nonces, Proofs
from auth.issuers import ForeignIssuers
from auth.signing import SigningKey
from auth.token import issue
from config.scope import DEFAULT_SCOPES, EVERYTHING

ISSUER = "https://naru.example"
ROUNDS = 9
REQUESTS = 1_000
BOX = auth.SecretBox("only for measuring, 32 characters")
API_KEY = KEY_PREFIX + "a" * 43


class _Store:
    """Knows one API key."""

    async def fetchrow(self, *_: object) -> Mapping[str, object]:
        scopes = list(DEFAULT_SCOPES)
        lists = dict.fromkeys(("allowed_agents", "allowed_models", "allowed_vector_stores"))
        return lists | {
            "id": "key-1",
            "tenant": "acme",
            "client": "demo",
            "role": "editor",
            "scopes": scopes,
            "client_scopes": scopes,
            "end_user": "optional",
        }


def _client() -> auth.Client:
    return auth.Client(
        id="demo",
        tenant="acme",
        name="demo",
        role="editor",
        scopes=frozenset(DEFAULT_SCOPES),
        default_scopes=frozenset(DEFAULT_SCOPES),
        auth_methods=frozenset({"client_secret_basic"}),
        jwks=None,
        assertion_algorithms=frozenset(),
        dpop=False,
        allowed=EVERYTHING,
        end_user="optional",
        generation=0,
        created_at=dt.datetime.now(dt.UTC),
        disabled_at=None,
    )


def _verifier(keys: auth.SigningKeys) -> auth.Verifier:
    store: Any = _Store()
    nobody: Any = None
    return auth.Verifier(
        store,
        BOX,
        keys,
        issuer=ISSUER,
        audience=ISSUER,
        revocations=auth.Revocations(store),
        proofs=Proofs(store, Nonces(BOX), require_nonce=True),
        foreign=ForeignIssuers((), nobody, store),
    )


async def _measure(
    make: Callable[[], auth.Verifier], requests: Sequence[auth.Credentials], *, warm: bool
) -> float:
    """Return microseconds of CPU per request, the median of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        verifier = make()
        if warm:
            await verifier.verify(requests[0])
        started = time.process_time()
        for request in requests:
            await verifier.verify(request)
        rounds.append((time.process_time() - started) / len(requests) * 1e6)
    return statistics.median(rounds)


async def main() -> None:
    """Print cost and target of each kind."""
    key = SigningKey.generate("ES256")

    async def no_more(_: Mapping[str, SigningKey]) -> list[SigningKey]:
        return [key]

    keys = auth.SigningKeys([key], no_more)
    scope = " ".join(DEFAULT_SCOPES)
    tokens = [
        issue(keys, issuer=ISSUER, audience=ISSUER, client=_client(), scope=scope, ttl_s=900)
        for _ in range(REQUESTS)
    ]
    sent = [auth.Credentials((f"Bearer {text}",)) for text in tokens]
    by_key = auth.Credentials((f"Bearer {API_KEY}",))

    def make() -> auth.Verifier:
        return _verifier(keys)

    for name, requests, warm, target in (
        ("token, first use", sent, False, 150),
        ("token, cached", [sent[0]] * REQUESTS, True, 15),
        ("API key, cached", [by_key] * REQUESTS, True, 15),
    ):
        cost = await _measure(make, requests, warm=warm)
        print(f"{name:<18} {cost:6.1f} µs per request   (target: under {target})")


if __name__ == "__main__":
    asyncio.run(main())
