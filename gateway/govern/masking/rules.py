"""What numbers of each kind look like, and what must stand around them.

The rules read normalised text (`normal`). They are tried in this order; each is linear, looks back
`CONTEXT` characters at most and ahead `AHEAD`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from gateway.govern.masking.checks import is_birth, is_business, is_day, is_iban, is_luhn
from gateway.govern.masking.kinds import Kind

CONTEXT = 40
"""How many characters before a number may tell what it is."""

AHEAD = 12
"""How many characters behind a number may."""

_JOINT = "[ ]?[-.]?[ ]?"
_LETTER = re.compile("[A-Za-z]")
_JOINTS = re.compile(r"[^0-9A-Za-z]")


@dataclass(frozen=True, slots=True)
class Rule:
    """A number's shape, and what else must be so of a match of it.

    `holds` is given the match, its digits (letters too, where the shape has some) and the
    characters before it.
    """

    kind: Kind
    shape: re.Pattern[str]
    holds: Callable[[re.Match[str], str, str], bool]


def bare(match: re.Match[str]) -> str:
    """Return what was matched without its joints."""
    return _JOINTS.sub("", match[0])


def _shape(pattern: str) -> re.Pattern[str]:
    """Compile a shape that no digit goes on before or behind."""
    return re.compile(rf"(?<![0-9])(?:{pattern})(?![0-9])")


def _number(pattern: str) -> re.Pattern[str]:
    """Compile a shape that is no part of a longer identifier, nor of a decimal, either."""
    return _shape(rf"(?<![0-9A-Za-z][-.])(?:{pattern})(?![-.]?[0-9])")


def _apart(match: re.Match[str]) -> bool:
    """Tell whether digits without joints stand apart from letters, unlike in a hash."""
    if not match[0].isdigit():
        return True
    text, start, end = match.string, match.start(), match.end()
    return not (_LETTER.match(text[start - 1 : start]) or _LETTER.match(text[end : end + 1]))


# --- Registration numbers of residents and foreigners

_NOT_A_PERSON = re.compile(
    r"(바코드|송장|주문|품번|일련|시리얼|상품|timestamp|epoch|barcode|ean|gtin|isbn|order|serial|sku)"
    r"[^0-9\n]{0,12}$",
    re.IGNORECASE,
)
_REGISTRATION = _shape(
    r"(?:[0-9]{6}|[0-9](?: [0-9]){5})(?: |[ ]?[-.][ ]?)(?:[0-9]{7}|[0-9](?: [0-9]){6})"
    r"|(?<![0-9A-Za-z][-.])[0-9]{13}(?![-.][0-9])"
)


def _registered(codes: str) -> Callable[[re.Match[str], str, str], bool]:
    def holds(match: re.Match[str], digits: str, before: str) -> bool:
        if digits[6] not in codes or not is_birth(digits):
            return False
        if match[0].isdigit():
            return _apart(match) and not _NOT_A_PERSON.search(before)
        return True

    return holds


# --- Cards

_CARD = _number(
    rf"[2-69][0-9]{{3}}{_JOINT}[0-9]{{4}}{_JOINT}[0-9]{{4}}{_JOINT}[0-9]{{4}}(?:{_JOINT}[0-9]{{3}})?"
    rf"|3[47][0-9]{{2}}{_JOINT}[0-9]{{6}}{_JOINT}[0-9]{{5}}"
    rf"|3[068][0-9]{{2}}{_JOINT}[0-9]{{6}}{_JOINT}[0-9]{{4}}"
    r"|4[0-9]{12}"
)


def _is_card(match: re.Match[str], digits: str, before: str) -> bool:
    del before
    if len(set(digits)) == 1 or not is_luhn(digits):
        return False
    # MasterCard's newer numbers begin at 2221; most that begin with 20 are dates.
    return _apart(match) and (digits[0] != "2" or "2221" <= digits[:4] <= "2720")


# --- Telephones

_ABROAD = r"(?:(?:\+|00)82[ .-]?|82[ .-])(?:\(0\)[ .-]?|0)?"
_MOBILE_CODE = r"1[016789]"
_MOBILE = (
    rf"(?:{_ABROAD}{_MOBILE_CODE}|\(0{_MOBILE_CODE}\)|0{_MOBILE_CODE}){_JOINT}[0-9]{{3,4}}"
    rf"{_JOINT}[0-9]{{4}}"
)
_SPACED = r"0 1 [016789](?: [0-9]){7,8}"
_AREA_CODE = "(?:2|[3-6][1-5]|70|50[0-9]?)"
_LANDLINE = (
    rf"(?:{_ABROAD}{_AREA_CODE}|\(0{_AREA_CODE}\)|0{_AREA_CODE}\)?){_JOINT}[1-9][0-9]{{2,3}}"
    rf"{_JOINT}[0-9]{{4}}"
)
_AMERICA = r"\+1[ .-]?\(?[0-9]{3}\)?[ .-]?[0-9]{3}[ .-]?[0-9]{4}|\([0-9]{3}\) ?[0-9]{3}-[0-9]{4}"
_WORLD = r"\+[2-9](?:[ .()-]{0,2}[0-9]){7,14}"
_PHONE = _number(f"{_MOBILE}|{_LANDLINE}|{_AMERICA}|{_WORLD}|{_SPACED}")
_LOCAL_PHONE = _number(r"[2-9][0-9]{2}[ .-][0-9]{3}[ .-][0-9]{4}")
_SAYS_PHONE = re.compile(
    r"(phone|tel|call|mobile|cell|fax|전화|연락처|팩스|휴대폰)[^0-9\n]{0,20}$", re.IGNORECASE
)


def _is_phone(match: re.Match[str], digits: str, before: str) -> bool:
    del digits, before
    return _apart(match)


def _is_local_phone(match: re.Match[str], digits: str, before: str) -> bool:
    del digits
    return _apart(match) and bool(_SAYS_PHONE.search(before))


# --- Business registration numbers

_BUSINESS = _number(rf"[1-9][0-9]{{2}}{_JOINT}[0-9]{{2}}{_JOINT}[0-9]{{5}}")
_SAYS_BUSINESS = re.compile(
    r"(사업자|등록번호|거래처|공급|세금계산서|현금영수증|상호|\(주\)|business|brn|vendor|supplier)"
    r"[^\n]{0,24}$",
    re.IGNORECASE,
)


def _is_business_number(match: re.Match[str], digits: str, before: str) -> bool:
    if not _apart(match) or not is_business(digits):
        return False
    return not match[0].isdigit() or bool(_SAYS_BUSINESS.search(before))


# --- Driver's licences: the region's code or, until 2014, its name; year, number, check

_LICENCE = _number(rf"(?:1[1-9]|2[0-8]){_JOINT}[0-9]{{2}}{_JOINT}[0-9]{{6}}{_JOINT}[0-9]{{2}}")
_OLD_LICENCE = _number(r"[0-9]{2}[ -][0-9]{6}[ -][0-9]{2}")
_REGION = re.compile(
    r"(서울|부산|경기|강원|충북|충남|전북|전남|경북|경남|제주|대구|인천|광주|대전|울산)[ -]?$"
)
_SAYS_LICENCE = re.compile(r"(면허|licen[sc]e|\bDL\b)[^\n]{0,24}$", re.IGNORECASE)


def _is_licence(match: re.Match[str], digits: str, before: str) -> bool:
    del digits
    if not _apart(match):
        return False
    return not match[0].isdigit() or bool(_SAYS_LICENCE.search(before))


def _is_old_licence(match: re.Match[str], digits: str, before: str) -> bool:
    del digits
    return _apart(match) and bool(_REGION.search(before))


# --- Bank accounts: any number of the right length beside a bank or the word itself

_ACCOUNT = _number(r"[0-9]{2,6}([- ])[0-9]{2,7}(?:\1[0-9]{1,7}){0,3}|[0-9]{10,16}")
_IBAN = re.compile(
    r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?:[A-Z0-9]{11,30}|(?: [A-Z]{4})?(?: ?[0-9]{4}){2,7}"
    r"(?: ?[0-9]{1,3})?)(?![0-9A-Za-z])"
)
_BANKS = (
    r"은행|뱅크|카뱅|농협|수협|신협|새마을금고|우체국|저축|증권|IBK|KB|NH|KEB|MG"
    r"|국민|신한|우리|하나|기업|제일|씨티|토스|shinhan|kookmin|woori|hana|bank"
)
_SAYS_ACCOUNT = re.compile(
    r"(계좌|account|acct|a/c|iban)((?!주문|송장|관리|order|invoice)[^0-9\n]){0,16}$", re.IGNORECASE
)
_AT_A_BANK = re.compile(
    rf"((?:{_BANKS})(?:은행|뱅크)?[ :(]{{0,3}}|(입금|송금|이체|환불|예금)[^0-9\n]{{0,6}})[\"']?$",
    re.IGNORECASE,
)
_THEN_A_BANK = re.compile(rf"[ ]?[(\[/,:]?[ ]?(?:[가-힣A-Z]{{0,4}}(?:{_BANKS}))", re.IGNORECASE)


def _long_enough(match: re.Match[str], digits: str) -> bool:
    return 10 <= len(digits) <= 16 and _apart(match)


def _is_said_account(match: re.Match[str], digits: str, before: str) -> bool:
    return _long_enough(match, digits) and bool(_SAYS_ACCOUNT.search(before))


def _is_account(match: re.Match[str], digits: str, before: str) -> bool:
    if not _long_enough(match, digits):
        return False
    end = match.end()
    return bool(_AT_A_BANK.search(before) or _THEN_A_BANK.match(match.string, end, end + AHEAD))


def _is_iban_number(match: re.Match[str], digits: str, before: str) -> bool:
    del match, before
    return 15 <= len(digits) <= 34 and is_iban(digits)


# --- Passports

_KOREAN_PASSPORT = re.compile(
    r"(?<![0-9A-Za-z])[MSRODGmsrodg](?:[0-9]{8}|[0-9]{3}[A-Za-z][0-9]{4})(?![0-9A-Za-z])"
)
_PASSPORT = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{0,2}[0-9][0-9A-Za-z]{5,8}(?![0-9A-Za-z])")
_SAYS_PASSPORT = re.compile(r"(여권|passport|KOR )[^\n]{0,24}$", re.IGNORECASE)
_SAYS_PASSPORT_NUMBER = re.compile(
    r"(여권[ _]?번호|passport[ _]?(?:no|number|num|#))[^0-9A-Za-z\n]{0,6}(?:is )?$", re.IGNORECASE
)


def _is_korean_passport(match: re.Match[str], digits: str, before: str) -> bool:
    del match
    if _SAYS_PASSPORT.search(before) or digits[4].isalpha():
        return True
    return digits[0] in "Mm" and not is_day(digits[1:])


def _is_passport(match: re.Match[str], digits: str, before: str) -> bool:
    del match
    enough = sum(character.isdigit() for character in digits) >= 5
    return enough and bool(_SAYS_PASSPORT_NUMBER.search(before))


_residents, _foreigners = _registered("123490"), _registered("5678")

LETTERED = (
    Rule(Kind.BANK_ACCOUNT, _IBAN, _is_iban_number),
    Rule(Kind.PASSPORT, _KOREAN_PASSPORT, _is_korean_passport),
    Rule(Kind.PASSPORT, _PASSPORT, _is_passport),
)
"""Numbers that begin with letters. The first rule that holds says what a number is."""

NUMBERED = (
    Rule(Kind.BANK_ACCOUNT, _ACCOUNT, _is_said_account),
    Rule(Kind.RESIDENT_NUMBER, _REGISTRATION, _residents),
    Rule(Kind.FOREIGNER_NUMBER, _REGISTRATION, _foreigners),
    Rule(Kind.CARD, _CARD, _is_card),
    Rule(Kind.PHONE, _PHONE, _is_phone),
    Rule(Kind.BUSINESS_NUMBER, _BUSINESS, _is_business_number),
    Rule(Kind.DRIVER_LICENCE, _LICENCE, _is_licence),
    Rule(Kind.DRIVER_LICENCE, _OLD_LICENCE, _is_old_licence),
    Rule(Kind.BANK_ACCOUNT, _ACCOUNT, _is_account),
    Rule(Kind.PHONE, _LOCAL_PHONE, _is_local_phone),
    Rule(Kind.PASSPORT, _PASSPORT, _is_passport),
)
"""Numbers that begin with a digit, a plus or a bracket; the first that holds again."""
