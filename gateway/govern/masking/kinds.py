"""The kinds of personal data that are looked for."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A kind of personal data; the value is its name in settings and errors."""

    RESIDENT_NUMBER = "resident_number"
    FOREIGNER_NUMBER = "foreigner_number"
    PHONE = "phone"
    BANK_ACCOUNT = "bank_account"
    BUSINESS_NUMBER = "business_number"
    PASSPORT = "passport"
    DRIVER_LICENCE = "driver_licence"
    CARD = "card"
    EMAIL = "email"

    @property
    def label(self) -> str:
        """Return its name in masks and pseudonyms: one short word in capitals."""
        return _LABELS[self]


_LABELS = {
    Kind.RESIDENT_NUMBER: "RESIDENT",
    Kind.FOREIGNER_NUMBER: "FOREIGNER",
    Kind.PHONE: "PHONE",
    Kind.BANK_ACCOUNT: "ACCOUNT",
    Kind.BUSINESS_NUMBER: "BUSINESS",
    Kind.PASSPORT: "PASSPORT",
    Kind.DRIVER_LICENCE: "LICENCE",
    Kind.CARD: "CARD",
    Kind.EMAIL: "EMAIL",
}


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data from character `start` up to `end`."""

    kind: Kind
    start: int
    end: int
