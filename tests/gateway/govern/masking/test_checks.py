import datetime as dt

import pytest

from gateway.govern.masking.checks import is_birth, is_business, is_day, is_iban, is_luhn


@pytest.mark.parametrize(
    ("number", "possible"),
    [
        ("9001011", True),
        ("0002293", True),
        ("0002291", False),  # 1900 was no leap year
        ("9002301", False),
        ("9013011", False),
        ("9900003", False),
        ("9901018", False),  # 2099
        ("9901010", True),  # 1899
    ],
)
def test_a_birth_is_a_day_that_has_been(number: str, possible: bool) -> None:
    assert is_birth(number) is possible


def test_who_is_born_tomorrow_has_no_number_yet() -> None:
    today = dt.datetime.now(dt.UTC).date()
    assert is_birth(f"{today:%y%m%d}3")
    assert not is_birth(f"{today + dt.timedelta(days=3):%y%m%d}3")


def test_check_digits() -> None:
    assert is_luhn("4111111111111111")
    assert not is_luhn("4111111111111112")
    assert is_business("1048639742")
    assert not is_business("1048639743")
    assert is_iban("GB82WEST12345698765432")
    assert not is_iban("GB82WEST12345698765433")
    assert is_day("20260301")
    assert not is_day("20260230")
