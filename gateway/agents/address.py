"""How an agent is named: `name`, `name@3` for a version, `name@prod` for an alias."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

ALIAS_PATTERN = r"^[a-z][a-z0-9-]{0,31}$(?!\n)"
AliasName = Annotated[str, Meta(pattern=ALIAS_PATTERN)]
VersionNumber = Annotated[int, Meta(ge=1, le=999_999_999)]

_ADDRESS = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]{0,63})"
    r"(?:@(?:(?P<version>0|[1-9][0-9]{0,8})|(?P<alias>[a-z][a-z0-9-]{0,31})))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Address:
    """Which agent is meant, which version of it, or by which alias; neither: its current one."""

    name: str
    version: int | None = None
    alias: str | None = None


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version that an alias points at, with its weight among the others (a canary)."""

    version: VersionNumber
    weight: Annotated[int, Meta(ge=1, le=1000)] = 1


def read_address(text: str) -> Address | None:
    """Return what the text names; None where no agent can be called like that."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    version = found["version"]
    return Address(found["name"], None if version is None else int(version), found["alias"])


def choose(targets: Sequence[Target], *affinity: str) -> int:
    """Return the version that answers: the same one for the same `affinity`, without one by chance.

    A weight that is raised moves only callers to it, and a weight that is lowered only from it.
    """
    total = sum(target.weight for target in targets)
    place = _place(affinity) * total if affinity else secrets.randbelow(total)
    for target in targets:
        place -= target.weight
        if place < 0:
            return target.version
    return targets[-1].version


def _place(affinity: Sequence[str]) -> float:
    """Return a number from 0 up to 1; lengths keep `a`, `bc` and `ab`, `c` apart."""
    text = "".join(f"{len(part)}:{part}" for part in affinity)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
