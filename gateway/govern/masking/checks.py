"""What must hold for digits to be a number of a kind: dates and check digits."""

import datetime as dt
from typing import Final

_CENTURIES: Final = {
    **dict.fromkeys("1256", 1900),
    **dict.fromkeys("3478", 2000),
    **dict.fromkeys("90", 1800),
}
_BUSINESS_WEIGHTS = (1, 3, 7, 1, 3, 7, 1, 3, 5)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def is_birth(number: str) -> bool:
    """Tell whether the first seven digits of a Korean registration number say a day that has been.

    They are the date and a code for century, sex and nationality. There is no check digit to look
    at: since October 2020 the other six are random.
    """
    century = _CENTURIES[number[6]]
    try:
        day = dt.date(century + int(number[:2]), int(number[2:4]), int(number[4:6]))
    except ValueError:
        return False
    # Zones are up to 14 hours ahead of ours.
    return day <= dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)


def is_luhn(digits: str) -> bool:
    """Tell whether the last digit is the check digit of ISO/IEC 7812-1."""
    total = sum(int(digit) for digit in digits[-1::-2])
    return (total + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])) % 10 == 0


def is_business(digits: str) -> bool:
    """Tell whether ten digits end in the check digit of a business registration number."""
    pairs = zip(digits, _BUSINESS_WEIGHTS, strict=False)
    total = sum(int(digit) * weight for digit, weight in pairs) + int(digits[8]) * 5 // 10
    return (total + int(digits[9])) % 10 == 0


def is_iban(number: str) -> bool:
    """Tell whether an IBAN's check digits are right (ISO 13616)."""
    return int("".join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 == 1


def is_day(digits: str) -> bool:
    """Tell whether eight digits are a day of our time, such as 20260301."""
    try:
        return 1900 < dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).year < 2100
    except ValueError:
        return False
