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

AHEAD = 16
"""How many characters behind a number may."""

_JOINT = "[ ]?[-.]?[ ]?"
_ALONE = r"(?<![0-9] ){}(?! [0-9])"
"""Digits with a space between each two, unlike in a list of numbers."""

_LEAST_DIGITS = 4
"""So many different ones have numbers that are written so, unlike a row of zeros and ones."""

_GOES_ON = re.compile(r"[-.][0-9]")
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


# `Tel.02-…`, `HP01012345678`, `No.4111-…`: what says what follows belongs to no identifier.
_SAYS_WHAT = re.compile(
    r"(?<![0-9A-Za-z])(?:(?:[tfmhpc]|h\.?p|c\.?p)[.-]|hp[.-]?"
    r"|(?:tel|fax|phone|mobile|cell|card|rrn|no|acct|account)[.-]?)$",
    re.IGNORECASE,
)
_IN_A_LIST = re.compile(r"(?<![^\s(])[0-9]{1,2}\.$")
_LABEL = 10  # characters of it at most


def _apart(match: re.Match[str]) -> bool:
    """Tell whether a number is no part of a longer identifier, a hash or a decimal."""
    text, start, end = match.string, match.start(), match.end()
    before, behind = text[max(0, start - _LABEL) : start], text[end : end + 2]
    bare_digits = match[0].isdigit()
    if _GOES_ON.match(behind) and (behind[0] == "-" or "-" not in match[0]):
        return False
    if _LETTER.match(behind) and (bare_digits or _LETTER.match(before[-1:])):
        return False
    joined = before[-1:] in {"-", "."}
    last = before[-2:-1] if joined else before[-1:]
    if not (last.isascii() and last.isalnum()) or (not joined and not bare_digits):
        return True
    if before[-1:] == "." and not bare_digits and (last.isalpha() or _IN_A_LIST.search(before)):
        return True
    return bool(_SAYS_WHAT.search(before))


# --- Registration numbers of residents and foreigners

_NOT_A_PERSON = re.compile(
    r"(바코드|송장|주문|품번|일련|시리얼|상품|timestamp|epoch|barcode|order|serial|sku"
    r"|(?:ean|gtin|isbn)(?:-?13)?|(?<![a-z])ts|_ms|millis|_at)[^0-9\n]{0,12}$",
    re.IGNORECASE,
)
_SAYS_COMPANY = re.compile(
    r"(법인 ?등록|법인 ?번호|corporat(?:e|ion)|incorporation)[^0-9\n]{0,24}$", re.IGNORECASE
)
_REGISTRATION = _shape(
    r"[0-9]{6}(?: |[ ]?[-.][ ]?)[0-9]{7}|[0-9]{13}"
    r"|(?<![/_~A-Za-z])[0-9]{6}[/_~][0-9]{7}(?![/_~]|\.[A-Za-z])|"  # no part of a path
    + _ALONE.format(r"[0-9](?: [0-9]){5}(?: |[ ]?[-.][ ]?)[0-9](?: [0-9]){6}")
)


def _registered(codes: str) -> Callable[[re.Match[str], str, str], bool]:
    def holds(match: re.Match[str], digits: str, before: str) -> bool:
        if digits[6] not in codes or not is_birth(digits) or _SAYS_COMPANY.search(before):
            return False
        if _NOT_A_PERSON.search(before) and (match[0].isdigit() or match[0][6] in "/_~"):
            return False
        if match[0].isdigit():
            return _apart(match) and not _SAYS_ACCOUNT.search(before)
        return match[0][1] != " " or len(set(digits)) >= _LEAST_DIGITS

    return holds


# --- Cards

_FOURS = rf"[2-69][0-9]{{3}}{_JOINT}[0-9]{{4}}{_JOINT}[0-9]{{4}}{_JOINT}[0-9]{{4}}"
_LONG_CARD = _shape(rf"{_FOURS}{_JOINT}[0-9]{{3}}")
_CARD = _shape(
    rf"{_FOURS}|3[47][0-9]{{2}}{_JOINT}[0-9]{{6}}{_JOINT}[0-9]{{5}}"
    rf"|3[068][0-9]{{2}}{_JOINT}[0-9]{{6}}{_JOINT}[0-9]{{4}}"
    r"|4[0-9]{12}"
)
_OLD_VISA = 13  # as many digits as a barcode


def _is_card(match: re.Match[str], digits: str, before: str) -> bool:
    if len(set(digits)) == 1 or not is_luhn(digits):
        return False
    if match[0].isdigit() and _SAYS_ACCOUNT.search(before):
        return False
    if len(digits) == _OLD_VISA and _NOT_A_PERSON.search(before):
        return False
    # MasterCard's newer numbers begin at 2221; most that begin with 20 are dates.
    return _apart(match) and (digits[0] != "2" or "2221" <= digits[:4] <= "2720")


# --- Telephones

_ABROAD = r"(?:(?:\+|00)82[ .-]?|82-)(?:\(0\)[ .-]?|0)?"
_MOBILE_CODE = r"1[016789]"
_MOBILE = (
    rf"(?:(?:{_ABROAD}|82 ){_MOBILE_CODE}|\(0{_MOBILE_CODE}\)|0{_MOBILE_CODE}){_JOINT}[0-9]{{3,4}}"
    rf"{_JOINT}[0-9]{{4}}"
)
_SPACED = _ALONE.format(r"0 1 [016789](?: [0-9]){7,8}")
_AREA_CODE = "(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|50[0-9]?)"
_LANDLINE = (
    rf"(?:{_ABROAD}{_AREA_CODE}|\(0{_AREA_CODE}\)|0{_AREA_CODE}\)?){_JOINT}[1-9][0-9]{{2,3}}"
    rf"{_JOINT}[0-9]{{4}}"
)
_AMERICA = r"\+1[ .-]?\(?[0-9]{3}\)?[ .-]?[0-9]{3}[ .-]?[0-9]{4}|\([0-9]{3}\) ?[0-9]{3}-[0-9]{4}"
# Neither a decimal nor a date; ten digits where nothing stands between them.
_WORLD = (
    r"(?!\+[0-9]{1,3}\.[0-9]{5}|\+20[0-9]{2}-[0-9]{2}-[0-9]{2}(?![0-9]))"
    r"(?:\+[2-9][0-9]{9,14}|\+[2-9][0-9]{0,3}[ .()-](?:[ .()-]{0,2}[0-9]){7,14})"
)
_PHONE = _shape(f"{_MOBILE}|{_LANDLINE}|{_AMERICA}|{_WORLD}|{_SPACED}")
_LOCAL_PHONE = _shape(r"[2-9][0-9]{2}[ .-][0-9]{3}[ .-][0-9]{4}")
_SAYS_PHONE = re.compile(
    r"(phone|tel|call|mobile|cell|fax|전화|연락처|팩스|휴대폰)[^0-9\n]{0,20}$", re.IGNORECASE
)


def _is_phone(match: re.Match[str], digits: str, before: str) -> bool:
    del before
    if match[0][1] == " " and len(set(digits)) < _LEAST_DIGITS:
        return False
    return _apart(match)


def _is_local_phone(match: re.Match[str], digits: str, before: str) -> bool:
    del digits
    return _apart(match) and bool(_SAYS_PHONE.search(before))


# --- Business registration numbers

_BUSINESS = _shape(rf"[1-9][0-9]{{2}}({_JOINT})[0-9]{{2}}({_JOINT})[0-9]{{5}}")
_SAYS_BUSINESS = re.compile(
    r"(사업자|등록번호|거래처|공급|세금계산서|현금영수증|상호|\(주\)|biz|business|brn|vendor|supplier)"
    r"[^\n]{0,24}$",
    re.IGNORECASE,
)


def _is_business_number(match: re.Match[str], digits: str, before: str) -> bool:
    if not _apart(match) or not is_business(digits):
        return False
    return _evenly(match) or bool(_SAYS_BUSINESS.search(before))


def _evenly(match: re.Match[str]) -> bool:
    """Tell whether the groups of a number have joints, and the same ones, unlike in a decimal."""
    first, *others = (joint.strip() or joint for joint in match.groups())
    return bool(first) and all(other == first for other in others)


# --- Driver's licences: the region's code or, until 2014, its name; year, number, check

_LICENCE = _shape(rf"(?:1[1-9]|2[0-8])({_JOINT})[0-9]{{2}}({_JOINT})[0-9]{{6}}({_JOINT})[0-9]{{2}}")
_OLD_LICENCE = _shape(r"[0-9]{2}[ -][0-9]{6}[ -][0-9]{2}")
_REGION = re.compile(
    r"(서울|부산|경기|강원|충북|충남|전북|전남|경북|경남|제주|대구|인천|광주|대전|울산)[ -]?$"
)
_SAYS_LICENCE = re.compile(r"(면허|licen[sc]e|\bDL\b)[^\n]{0,24}$", re.IGNORECASE)


def _is_licence(match: re.Match[str], digits: str, before: str) -> bool:
    del digits
    if not _apart(match):
        return False
    return _evenly(match) or bool(_SAYS_LICENCE.search(before))


def _is_old_licence(match: re.Match[str], digits: str, before: str) -> bool:
    del digits
    return _apart(match) and bool(_REGION.search(before))


# --- Bank accounts: any number of the right length beside a bank or the word itself

_ACCOUNT = _shape(
    r"[0-9]{2,6}(?P<joint>[ ]?-[ ]?| )[0-9]{2,7}(?:(?P=joint)[0-9]{1,7}){0,3}|[0-9]{10,16}"
)
_IBAN = re.compile(
    r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?:[A-Z0-9]{11,30}|(?: [A-Z]{4})?(?: ?[0-9]{4}){2,7}"
    r"(?: ?[0-9]{1,3})?)(?![0-9A-Za-z])"
)
_CODES = "IBK|KB|NH|KEB|MG"
_WORDS = "국민|신한|우리|하나|기업|제일|씨티|토스|shinhan|kookmin|woori|hana"
_BANKS = (
    r"은행|뱅크|카뱅|농협|수협|신협|새마을금고|우체국|저축|증권"
    r"|(?<![a-z])(?:(?:citi|kakao|toss|k-?|sc) ?)?bank(?![a-z])"
)
_OTHER = (
    "주문|송장|관리|주민|외국인|등록|카드|전화|연락|문의|상담|휴대|핸드폰|팩스|여권|면허|사업자"
    "|잔액|일시|시각|생성|order|invoice|rrn|card|phone|tel|mobile|fax|passport|licen|business"
    "|balance|time|date|created"
)
"""Between the word and a number they say that it is something else."""

_SAYS_ACCOUNT = re.compile(
    rf"(계좌|통장 ?번호|account(?!a|in)|acct|a/c|iban)[ _]?(번호|number|no\.?)?[0-9]{{0,2}}"
    rf"((?!{_OTHER})[^0-9\n]){{0,16}}([0-9][0-9 -]{{8,18}}[0-9][ ,/및와과에서]{{1,4}})?$",
    re.IGNORECASE,
)
_AT_A_BANK = re.compile(
    rf"((?:{_BANKS}|{_CODES}|(?:{_WORDS})(?:은행|뱅크)?)[ :(,/|\t]{{0,3}}"
    rf"|(?:은행|뱅크|농협|수협|신협|우체국|금고)[ :(,/|\t]{{0,3}}[가-힣]{{2,4}}[ )]{{1,2}}"
    rf"|(입금|송금|이체|환불|예금)((?!{_OTHER})[^0-9\n]){{0,6}})[\"']?$",
    re.IGNORECASE,
)
_ALSO_A_WORD = re.compile(r"(우리|하나|기업|제일|국민)[ :(,/|\t]{0,3}[\"']?$")
_THEN_A_BANK = re.compile(
    rf"[ ]?[(\[/,:]?[ ]?[가-힣A-Z]{{0,4}}(?i:{_BANKS}|{_WORDS})"
    rf"|[ ]?[(\[/,:][ ]?(?:{_CODES})|[ ]?(?:{_CODES})[가-힣]"
)
_THEN_THE_WORD = re.compile(r"[^0-9\n]{0,8}(?:계좌(?!이체| 이체)|account(?!a|in))", re.IGNORECASE)
_AN_AMOUNT = re.compile(r" ?(?:[천만억]?원|won\b|krw|usd|달러|엔)", re.IGNORECASE)
_MOMENT = re.compile(
    r"(?:19|20)[0-9]{2}[ -]?(?:0[1-9]|1[0-2])[ -]?(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:[- ]|(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]$)"
)
"""What begins with a date, or is a moment, all digits."""


def _may_be_account(match: re.Match[str], digits: str) -> bool:
    if not 10 <= len(digits) <= 16 or _MOMENT.match(match[0]) or not _apart(match):
        return False
    end = match.end()
    return not match[0].isdigit() or not _AN_AMOUNT.match(match.string, end, end + AHEAD)


def _is_said_account(match: re.Match[str], digits: str, before: str) -> bool:
    return bool(before and _may_be_account(match, digits) and _SAYS_ACCOUNT.search(before))


def _is_account(match: re.Match[str], digits: str, before: str) -> bool:
    if not _may_be_account(match, digits):
        return False
    text, end, joined = match.string, match.end(), not match[0].isdigit()
    if _AT_A_BANK.search(before) and (joined or not _ALSO_A_WORD.search(before)):
        return True
    if joined and _THEN_THE_WORD.match(text, end, end + AHEAD):
        return True
    return bool(_THEN_A_BANK.match(text, end, end + AHEAD))


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
    if _SAYS_PASSPORT.search(before) or (digits[4].isalpha() and digits.isupper()):
        return True
    return digits[0] in "Mm" and not is_day(digits[1:])


def _is_passport(match: re.Match[str], digits: str, before: str) -> bool:
    del match
    enough = sum(character.isdigit() for character in digits) >= 5
    return enough and bool(_SAYS_PASSPORT_NUMBER.search(before))


_residents, _foreigners = _registered("123490"), _registered("5678")

_said_account = Rule(Kind.BANK_ACCOUNT, _ACCOUNT, _is_said_account)
_licence = Rule(Kind.DRIVER_LICENCE, _LICENCE, _is_licence)
_korean_passport = Rule(Kind.PASSPORT, _KOREAN_PASSPORT, _is_korean_passport)
_passport = Rule(Kind.PASSPORT, _PASSPORT, _is_passport)

LETTERED = (Rule(Kind.BANK_ACCOUNT, _IBAN, _is_iban_number), _korean_passport, _passport)
"""Numbers that begin with letters. The first rule that holds says what a number is."""

NUMBERED = (
    Rule(Kind.RESIDENT_NUMBER, _REGISTRATION, _residents),
    Rule(Kind.FOREIGNER_NUMBER, _REGISTRATION, _foreigners),
    Rule(Kind.CARD, _LONG_CARD, _is_card),
    Rule(Kind.CARD, _CARD, _is_card),
    _said_account,
    Rule(Kind.PHONE, _PHONE, _is_phone),
    Rule(Kind.BUSINESS_NUMBER, _BUSINESS, _is_business_number),
    _licence,
    Rule(Kind.DRIVER_LICENCE, _OLD_LICENCE, _is_old_licence),
    Rule(Kind.BANK_ACCOUNT, _ACCOUNT, _is_account),
    Rule(Kind.PHONE, _LOCAL_PHONE, _is_local_phone),
    _passport,
)
"""Numbers that begin with a digit, a plus or a bracket; the first that holds again."""

HEADED = (_said_account, _licence, _korean_passport, _passport)
"""Numbers that the head of their column or list may tell."""
