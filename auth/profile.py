"""What a client can be: the rules of every registration and change, and which change takes away."""

import datetime as dt
import re
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any, TypedDict, get_args

from auth.assertion import ALGORITHMS
from auth.client_auth import METHODS
from auth.clients import ID, Client, EndUserPolicy
from auth.errors import InvalidName, InvalidOption, UnknownScope
from auth.jose import PublicKey, public_key
from config.scope import DEFAULT_SCOPES, SCOPES, Allowed, Residency, Role

MAX_KEYS = 10
MAX_ALLOWED = 64
"""How many names an allow-list can hold."""

SECRET_METHODS = frozenset({"client_secret_basic", "client_secret_post"})

_ROLES: tuple[Role, ...] = get_args(Role)
_WRITES = frozenset({"agents:write", "knowledge:write"})
_OBJECTS = tuple(field.name for field in fields(Allowed))
_SETS = ("scopes", "default_scopes", "auth_methods", "assertion_algorithms")
_MEMBERS = ("kty", "kid", "alg", "crv", "x", "y", "n", "e")
# Ids and names as they are made elsewhere; short enough for three full lists in a token.
_NAME_OF_ONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
_LONGEST_NAME = {"agents": 64, "models": 128, "vector_stores": 64}


class Options(TypedDict, total=False):
    """What a client can be told to be. An allow-list of None stands for all of the tenant's."""

    role: Role
    scopes: Collection[str]
    default_scopes: Collection[str]
    auth_methods: Collection[str]
    jwks: Mapping[str, Any] | None
    assertion_algorithms: Collection[str]
    dpop: bool
    allowed_agents: Collection[str] | None
    allowed_models: Collection[str] | None
    allowed_vector_stores: Collection[str] | None
    end_user: EndUserPolicy
    residency: Residency


class Changes(Options, total=False):
    """What can be changed of a client."""

    name: str
    disabled: bool


def new_client(client_id: str, tenant: str, name: str, options: Options) -> Client:
    """Return the client that a registration asks for.

    Raises:
        RegistrationError: It breaks a rule.
    """
    role = options.get("role", "editor")
    scopes = default_scopes(role)
    plain = Client(
        id=client_id,
        tenant=tenant,
        name=name,
        role=role,
        scopes=scopes,
        default_scopes=scopes,
        auth_methods=SECRET_METHODS,
        jwks=None,
        assertion_algorithms=frozenset(),
        dpop=False,
        allowed=Allowed(),
        end_user="optional",
        residency="any",
        generation=0,
        created_at=dt.datetime.now(dt.UTC),
        disabled_at=None,
    )
    check_id(client_id, "client id")
    return changed(plain, Changes(name=name, disabled=False, **options))


def default_scopes(role: Role) -> frozenset[str]:
    """Return what a client of the role holds when nothing else is said."""
    return frozenset(DEFAULT_SCOPES) - (_WRITES if role == "viewer" else frozenset())


def changed(client: Client, changes: Changes) -> Client:
    """Return the client with the changes.

    Without `default_scopes` the old ones that are left stay, or all where it had all. Without
    `assertion_algorithms` the first keys may use whatever fits them.

    Raises:
        RegistrationError: It breaks a rule.
    """
    values: dict[str, Any] = {
        name: frozenset(value) if name in _SETS else value  # type: ignore[call-overload]
        for name, value in changes.items()
        if name in Client.__dataclass_fields__
    }
    if "scopes" in values and "default_scopes" not in values:
        had_all = client.default_scopes == client.scopes
        kept = values["scopes"] if had_all else client.default_scopes & values["scopes"]
        values["default_scopes"] = kept
    if "disabled" in changes:
        since = client.disabled_at or dt.datetime.now(dt.UTC)
        values["disabled_at"] = since if changes["disabled"] else None
    return _checked(replace(client, **values, allowed=_allowed(client.allowed, changes)))


def takes_away(before: Client, after: Client) -> bool:
    """Tell whether tokens issued before may do what the client may no longer.

    A way to authenticate counts as well: who lost it may hold such tokens.
    """
    return (
        rank(after.role) < rank(before.role)
        or not before.scopes <= after.scopes
        or not before.auth_methods <= after.auth_methods
        or not before.assertion_algorithms <= after.assertion_algorithms
        or not all(jwk in _keys(after.jwks) for jwk in _keys(before.jwks))
        or (after.dpop and not before.dpop)
        or not within(before.allowed, after.allowed)
        or after.end_user not in (before.end_user, "optional")
        or after.residency not in (before.residency, "any")
        or (after.disabled_at is not None and before.disabled_at is None)
    )


def rank(role: Role) -> int:
    """Return how far a role reaches: more than all of lower rank."""
    return _ROLES.index(role)


def within(inner: Allowed, outer: Allowed) -> bool:
    """Tell whether everything that `inner` allows is allowed by `outer`."""
    lists = ((getattr(inner, name), getattr(outer, name)) for name in _OBJECTS)
    return all(wide is None or (narrow is not None and narrow <= wide) for narrow, wide in lists)


def holds_secrets(client: Client) -> bool:
    """Tell whether the client may authenticate with a secret at all."""
    return bool(client.auth_methods & SECRET_METHODS)


def check_id(value: str, what: str) -> None:
    """Refuse what can't be the id of a tenant or a client.

    Raises:
        InvalidName: It can't.
    """
    if not ID.fullmatch(value):
        raise InvalidName(
            f"the {what} {value[:80]!r} must be 1 to 64 letters, digits, '.', '_' or '-'"
        )


def check_name(name: str) -> None:
    """Refuse what can't be a name for people.

    Raises:
        InvalidName: It can't.
    """
    if not (name.isprintable() and 1 <= len(name) <= 200):
        raise InvalidName("a name must have 1 to 200 printable characters")


def checked_scopes(scopes: Collection[str], choice: Collection[str]) -> tuple[str, ...]:
    """Return `scopes` in the order of `SCOPES`, each once.

    Raises:
        UnknownScope: One is not among `choice`, or there is none.
    """
    unknown = sorted(set(scopes) - set(choice))
    if unknown or not scopes:
        possible = ", ".join(scope for scope in SCOPES if scope in choice)
        fault = f"can't grant {', '.join(unknown)}" if unknown else "a scope is needed"
        raise UnknownScope(f"{fault}: choose from {possible}")
    return tuple(scope for scope in SCOPES if scope in scopes)


def _checked(client: Client) -> Client:
    check_name(client.name)
    _check_choice("role", [client.role], _ROLES)
    _check_choice("end_user", [client.end_user], get_args(EndUserPolicy))
    _check_choice("residency", [client.residency], get_args(Residency))
    checked_scopes(client.scopes, SCOPES)
    checked_scopes(client.default_scopes, client.scopes)
    if client.role == "viewer" and (writes := client.scopes & _WRITES):
        listed = ", ".join(sorted(writes))
        raise InvalidOption("scopes", f"a viewer changes nothing: take away {listed}")
    for kind in _OBJECTS:
        _check_allowed(kind, getattr(client.allowed, kind))
    algorithms = _checked_algorithms(client)
    return replace(client, jwks=_known_members(client.jwks), assertion_algorithms=algorithms)


def _check_allowed(kind: str, names: frozenset[str] | None) -> None:
    param, longest = f"allowed_{kind}", _LONGEST_NAME[kind]
    if names is None:
        return
    if len(names) > MAX_ALLOWED:
        raise InvalidOption(param, f"{param} can hold {MAX_ALLOWED} names; null stands for all")
    for name in sorted(names):
        if len(name) > longest or not _NAME_OF_ONE.fullmatch(name):
            raise InvalidOption(
                param, f"{param}: {name[:80]!r} can't be a name or an id ({longest} characters)"
            )


def _checked_algorithms(client: Client) -> frozenset[str]:
    """Return what assertions may be signed with; every key must fit one of them."""
    _check_choice("auth_methods", client.auth_methods, METHODS)
    if not client.auth_methods:
        raise InvalidOption("auth_methods", f"choose from {', '.join(METHODS)}")
    if "private_key_jwt" in client.auth_methods and not client.jwks:
        raise InvalidOption("jwks", "private_key_jwt needs the client's public keys: set jwks")
    _check_choice("assertion_algorithms", client.assertion_algorithms, ALGORITHMS)
    possible = [key.algorithms & set(ALGORITHMS) for key in _public_keys(client.jwks)]
    allowed = client.assertion_algorithms or frozenset[str]().union(*possible)
    for number, algorithms in enumerate(possible):
        if not algorithms & allowed:
            raise InvalidOption(
                "assertion_algorithms",
                f"jwks key {number} signs with {', '.join(sorted(algorithms)) or 'none of ours'}, "
                "and none of that is allowed",
            )
    return allowed


def _check_choice(param: str, given: Collection[str], choice: Collection[str]) -> None:
    if unknown := sorted(set(given) - set(choice)):
        listed = ", ".join(unknown)[:80]
        raise InvalidOption(param, f"{param}: not {listed}: choose from {', '.join(choice)}")


def _public_keys(jwks: Mapping[str, Any] | None) -> list[PublicKey]:
    if jwks is None:
        return []
    keys = _keys(jwks)
    if not (isinstance(keys, list) and 1 <= len(keys) <= MAX_KEYS):
        raise InvalidOption("jwks", f"jwks must be an object with 1 to {MAX_KEYS} `keys`")
    return [_public_key(number, jwk) for number, jwk in enumerate(keys)]


def _public_key(number: int, jwk: object) -> PublicKey:
    kid = jwk.get("kid", "") if isinstance(jwk, dict) else None
    if not (
        isinstance(jwk, dict) and isinstance(kid, str) and kid.isprintable() and len(kid) < 257
    ):
        raise InvalidOption("jwks", f"jwks key {number} must be an object, its kid a short string")
    try:
        return public_key(jwk)
    except ValueError as error:
        raise InvalidOption("jwks", f"jwks key {number} can't be used: {error}") from None


def _known_members(jwks: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Leave out what a JWK Set may hold beside what is used here (RFC 7517 section 4)."""
    if jwks is None:
        return None
    keys = [{name: jwk[name] for name in _MEMBERS if name in jwk} for jwk in _keys(jwks)]
    return {"keys": keys}


def _keys(jwks: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 - unchecked JSON
    return jwks.get("keys") if jwks else []


def _allowed(before: Allowed, changes: Changes) -> Allowed:
    given: dict[str, Collection[str] | None] = {
        name.removeprefix("allowed_"): value  # type: ignore[misc]
        for name, value in changes.items()
        if name.startswith("allowed_")
    }
    lists = {name: None if value is None else frozenset(value) for name, value in given.items()}
    return replace(before, **lists)
