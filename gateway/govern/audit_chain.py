"""The chain that audit records hang on: keyed hashes, each over the one before."""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from gateway.openai.chat_request import JsonObject

PRUNED = "audit.pruned"
"""Action of the record that says which ones are gone: `through`, and the hash of that one."""


@dataclass(frozen=True, slots=True)
class Link:
    """A record as it is stored; `record` is the JSON text that was hashed."""

    seq: int
    record: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a chain is broken, and how."""

    seq: int
    reason: str


def link(key: bytes, seq: int, previous: bytes, told: msgspec.Struct | JsonObject) -> Link:
    """Return the next link of a chain whose last hash is `previous`; empty for the first."""
    record = b'{"seq":%d,' % seq + msgspec.json.encode(told)[1:]
    return Link(seq, record.decode(), _digest(key, previous, record))


class Inspection:
    """Checks a chain from its oldest link on, some links at a time.

    Attributes:
        checked: How many links held.
        head: The last one's number and hash.
        pruned: Number and hash of the last one that a pruning took away; 0 where there was none.
        fault: The first fault found; nothing after it is looked at.
    """

    def __init__(self, key: bytes, tenant: str) -> None:
        self._key = key
        self._tenant = tenant
        self.checked = 0
        self.head: tuple[int, bytes] = (0, b"")
        self.pruned: tuple[int, bytes] = (0, b"")
        self.fault: Fault | None = None

    def take(self, links: Iterable[Link], before: bytes = b"") -> None:
        """Check further links. `before` is the hash that the first link of all builds on.

        Only a record of a pruning can vouch for a `before` that is not empty: see `finish`.
        """
        for each in links:
            if self.fault:
                return
            self._take(each, before)

    def finish(self, stored: tuple[int, bytes] | None, prunings: Sequence[JsonObject]) -> None:
        """Check both ends: `stored` is the head as the database says, `prunings` what is gone."""
        if self.fault:
            return
        if stored != self.head and (stored or self.checked):
            self.fault = Fault(self.head[0], "the newest records are missing")
        elif self.pruned[0] and not any(self._vouched(pruning) for pruning in prunings):
            self.fault = Fault(self.pruned[0] + 1, "the records before this one are missing")

    def _take(self, each: Link, before: bytes) -> None:
        seq, previous = self.head
        if not self.checked:
            seq, previous = each.seq - 1, before
            self.pruned = (seq, previous)
        if each.seq != seq + 1:
            self.fault = Fault(seq + 1, "a record is missing")
        elif not hmac.compare_digest(each.hash, _digest(self._key, previous, each.record.encode())):
            self.fault = Fault(each.seq, "the record, or the one before it, was changed")
        elif not _belongs(each, self._tenant):
            self.fault = Fault(each.seq, "the record was moved here from elsewhere")
        else:
            self.checked += 1
            self.head = (each.seq, each.hash)

    def _vouched(self, pruning: JsonObject) -> bool:
        seq, last = self.pruned
        return pruning.get("through") == seq and pruning.get("hash") == last.hex()


def _belongs(each: Link, tenant: str) -> bool:
    fields = msgspec.json.decode(each.record)
    return (fields.get("seq"), fields.get("tenant")) == (each.seq, tenant)


def _digest(key: bytes, previous: bytes, record: bytes) -> bytes:
    return hmac.digest(key, previous + record, "sha256")
