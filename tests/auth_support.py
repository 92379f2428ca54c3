"""What the tests of identity share."""

import asyncpg

import auth
from auth.dpop import Nonces, Proofs
from auth.issuers import ForeignIssuers
from auth.jose import decode
from auth.revocations import Revocations

ISSUER = "https://naru.example"


def make_verifier(
    pool: asyncpg.Pool,
    box: auth.SecretBox,
    keys: auth.SigningKeys,
    *,
    audience: str = ISSUER,
    revocations: Revocations | None = None,
    foreign: ForeignIssuers | None = None,
) -> auth.Verifier:
    """A verifier that trusts no other issuer and demands no nonces, unless told otherwise."""
    return auth.Verifier(
        pool,
        box,
        keys,
        issuer=ISSUER,
        audience=audience,
        revocations=revocations or Revocations(pool),
        proofs=Proofs(pool, Nonces(box), require_nonce=False),
        foreign=foreign or ForeignIssuers((), None, pool),  # type: ignore[arg-type]
    )


def bearer(credential: str, *end_user: str) -> auth.Credentials:
    """A request that sends a token or an API key."""
    return auth.Credentials((f"Bearer {credential}",), end_user=end_user)


def kid_in_use(keys: auth.SigningKeys) -> str:
    """The id of the key that signs."""
    return str(decode(keys.sign(b"{}", typ="at+jwt")).header["kid"])


async def time_passes(pool: asyncpg.Pool, seconds: float) -> None:
    """Move every date of the signing keys into the past instead."""
    await pool.execute(
        "UPDATE signing_keys SET created_at = created_at - make_interval(secs => $1), "
        "signs_from = signs_from - make_interval(secs => $1)",
        seconds,
    )
