"""Writes `cases.jsonl`, `held_out.jsonl` and `columns.jsonl`: texts with what of them is personal
data, and near misses without any.

    python tests/gateway/govern/masking/make_cases.py

Contexts are written by hand, numbers are drawn from a seed. The first two share no context: rules
are tuned on the first alone. In the third only the head of a column or list says what a number is.
No number is anybody's.
"""

import datetime as dt
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from case_contexts import HELD_OUT, TUNED, Contexts
from column_contexts import COLUMNS

HERE = Path(__file__).parent
POSITIVE, NEAR_MISSES = 4, 5
_HYPHENS = "-‐‑–−－"  # as people and word processors write them
_FULL_WIDTH = str.maketrans("0123456789-.@", "０１２３４５６７８９－．＠")
_GAP = re.compile(r"\{([a-z_:0-9]+)\}")
Draw = Callable[[random.Random], str]


def _digits(rng: random.Random, n: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(n))


def _birth(rng: random.Random) -> dt.date:
    return dt.date(1940, 1, 1) + dt.timedelta(days=rng.randrange(31_000))


def _number_of(rng: random.Random, codes: Mapping[int, Sequence[str]]) -> str:
    birth = _birth(rng)
    code = rng.choice(codes[birth.year // 100])
    joint = rng.choice(["-", "-", "-", "", " ", " - "])
    return f"{birth:%y%m%d}{joint}{code}{_digits(rng, 6)}"


def resident(rng: random.Random) -> str:
    return _number_of(rng, {19: "12", 20: "34"})


def foreigner(rng: random.Random) -> str:
    return _number_of(rng, {19: "56", 20: "78"})


def _joined(rng: random.Random, parts: Sequence[str], joints: str) -> str:
    return rng.choice(joints.split("|")).join(parts)


def phone(rng: random.Random) -> str:
    line, middle = _digits(rng, 4), str(rng.randrange(2000, 9999))
    if rng.random() < 0.55:
        return _joined(rng, ["010", middle, line], "-|-|-|| |.")
    area = rng.choice(["02", "031", "042", "051", "064", "070", "0505"])
    if rng.random() < 0.6:
        rest = [middle if area == "070" else middle[:3], line]
        joint = rng.choice(["-", "-", ") ", "."])
        return area + joint + (joint if joint in "-." else "-").join(rest)
    return rng.choice(
        [
            f"+82-10-{middle}-{line}",
            f"+82 10 {middle} {line}",
            f"+8210{middle}{line}",
            f"+82 (0)10-{middle}-{line}",
            f"+82-2-{middle}-{line}",
            f"+1 (212) 555-{line}",
            f"+1-415-555-{line}",
            f"+44 20 7946 {line}",
            f"+81-3-{middle}-{line}",
            f"+49 151 {middle}{line}",
            f"(0{rng.choice('2')}) {middle}-{line}",
        ]
    )


def account(rng: random.Random) -> str:
    shape = rng.choice([(3, 3, 6), (3, 2, 6), (6, 2, 6), (3, 6, 2, 3), (4, 2, 7), (3, 4, 4, 2)])
    first = str(rng.randrange(2, 9))
    parts = [_digits(rng, n) for n in shape]
    parts[0] = first + parts[0][1:]
    return _joined(rng, parts, "-|-|-|| ")


def _check_business(nine: str) -> str:
    weights = (1, 3, 7, 1, 3, 7, 1, 3, 5)
    total = sum(int(digit) * weight for digit, weight in zip(nine, weights, strict=True))
    return str(-(total + int(nine[8]) * 5 // 10) % 10)


def business(rng: random.Random) -> str:
    nine = f"{rng.randrange(101, 899)}{rng.randrange(10, 99)}{_digits(rng, 4)}"
    ten = nine + _check_business(nine)
    return _joined(rng, [ten[:3], ten[3:5], ten[5:]], "-|-|-| ")


def passport(rng: random.Random) -> str:
    letter = rng.choice("MMMMSR")
    if rng.random() < 0.5:
        return f"{letter}{_digits(rng, 3)}{rng.choice('ABCDEFGH')}{_digits(rng, 4)}"
    return f"{letter}{rng.randrange(30, 99)}{_digits(rng, 6)}"


def licence(rng: random.Random) -> str:
    parts = [str(rng.randrange(11, 29)), _digits(rng, 2), _digits(rng, 6), _digits(rng, 2)]
    return _joined(rng, parts, "-|-|-| ")


def luhn(digits: str) -> str:
    """Return the check digit that follows `digits`."""
    total = 0
    for i, digit in enumerate(reversed(digits)):
        n = int(digit) * (2 if i % 2 == 0 else 1)
        total += n - 9 if n > 9 else n
    return str(-total % 10)


def card(rng: random.Random) -> str:
    if rng.random() < 0.15:
        body = rng.choice(["34", "37"]) + _digits(rng, 12)
        whole = body + luhn(body)
        return _joined(rng, [whole[:4], whole[4:10], whole[10:]], "-| |")
    body = rng.choice(["4", "51", "55", "2221", "356", "6011", "9410"])
    body += _digits(rng, 15 - len(body))
    whole = body + luhn(body)
    return _joined(rng, [whole[i : i + 4] for i in range(0, 16, 4)], "-|-| ||")


def email(rng: random.Random) -> str:
    local = rng.choice(
        ["hong.gildong", "kim_cs", "lee+naru", "p.park88", "x", "a-b", "01012345678", "user%x"]
    )
    host = rng.choice(
        [
            "example.com",
            "naver.com",
            "mail.example.co.kr",
            "sub.dept.example.org",
            "xn--9t4b11yi5a.kr",
        ]
    )
    return f"{local}{rng.randrange(100)}@{host}"


VALUES: Mapping[str, Draw] = {
    "resident_number": resident,
    "foreigner_number": foreigner,
    "phone": phone,
    "bank_account": account,
    "business_number": business,
    "passport": passport,
    "driver_licence": licence,
    "card": card,
    "email": email,
}


def _disguised(rng: random.Random, value: str) -> str:
    """Return the value as another keyboard, a word processor or somebody evasive writes it."""
    way = rng.randrange(8)
    if way == 0:
        return value.translate(_FULL_WIDTH)
    if way == 1:
        return value.replace("-", rng.choice(_HYPHENS))
    if way == 2:
        at = rng.randrange(1, len(value))
        return value[:at] + rng.choice("\u200b\u200d\u2060\ufeff") + value[at:]
    if way == 3:
        return value.replace(" ", "\u00a0")
    return value


def _wrong_business(rng: random.Random) -> str:
    right = business(rng)
    return right[:-1] + str((int(right[-1]) + rng.randrange(1, 10)) % 10)


def _wrong_card(rng: random.Random) -> str:
    right = card(rng)
    return right[:-1] + str((int(right[-1]) + rng.randrange(1, 10)) % 10)


def _no_birth(rng: random.Random, codes: str) -> str:
    month_day = rng.choice(["1301", "0001", "0230", "0431", "9912", "1132", "0600"])
    return f"{_digits(rng, 2)}{month_day}-{rng.choice(codes)}{_digits(rng, 6)}"


def _day(rng: random.Random, pattern: str) -> str:
    return (dt.date(2015, 1, 1) + dt.timedelta(days=rng.randrange(5_000))).strftime(pattern)


NEAR: Mapping[str, Draw] = {
    "no_birth": lambda rng: _no_birth(rng, "1234"),
    "no_birth_foreigner": lambda rng: _no_birth(rng, "5678"),
    "wrong_business": _wrong_business,
    "wrong_card": _wrong_card,
    "date": lambda rng: _day(rng, "%Y-%m-%d"),
    "moment": lambda rng: _day(rng, "%Y%m%d0") + _digits(rng, 1) + "30" + _digits(rng, 1) + "5",
    "order": lambda rng: _day(rng, "%Y%m%d-") + _digits(rng, 7),
    "digits_8": lambda rng: str(rng.randrange(1, 9)) + _digits(rng, 7),
    "digits_9": lambda rng: str(rng.randrange(1, 9)) + _digits(rng, 8),
    "digits_12": lambda rng: str(rng.randrange(3, 9)) + _digits(rng, 11),
    "digits_14": lambda rng: "70" + _digits(rng, 12),
    "digits_20": lambda rng: str(rng.randrange(1, 9)) + _digits(rng, 19),
    "version": lambda rng: ".".join(str(rng.randrange(30)) for _ in range(4)),
    "ip": lambda rng: ".".join(str(rng.randrange(1, 255)) for _ in range(4)),
    "amount": lambda rng: f"{rng.randrange(1, 900)},{_digits(rng, 3)},{_digits(rng, 3)}",
    "decimal": lambda rng: f"{rng.randrange(9)}.{_digits(rng, 13)}",
    "uuid": lambda rng: "-".join(
        "".join(rng.choice("0123456789abcdef") for _ in range(n)) for n in (8, 4, 4, 4, 12)
    ),
    "hash": lambda rng: "".join(rng.choice("0123456789abcdef") for _ in range(40)),
    "letter_date": lambda rng: rng.choice("MSR") + _day(rng, "%Y%m%d"),
    "letter_7": lambda rng: f"{rng.choice('MSRX')}{_digits(rng, 7)}",
    "section": lambda rng: f"{rng.randrange(1, 40)}-{rng.randrange(1, 40)}-{rng.randrange(1, 400)}",
}


def _draw_text(rng: random.Random, context: str) -> tuple[str, list[dict[str, object]]]:
    """Fill in `{type}` (personal data) and `{near:kind}` (none); return what is to be found."""
    text, found = "", list[dict[str, object]]()
    for i, piece in enumerate(_GAP.split(context)):
        if i % 2 == 0:
            text += piece
        elif piece.startswith("near:"):
            text += NEAR[piece.removeprefix("near:")](rng)
        else:
            value = _disguised(rng, VALUES[piece](rng))
            found.append({"type": piece, "start": len(text), "end": len(text) + len(value)})
            text += value
    return text, found


def cases(contexts: Contexts, seed: int) -> Iterator[dict[str, object]]:
    """Yield each context filled in several times; one without a gap stands once."""
    rng = random.Random(seed)
    for kind, (positive, near) in contexts.items():
        for context in (*positive, *near):
            times = POSITIVE if context in positive else NEAR_MISSES
            for _ in range(times if _GAP.search(context) else 1):
                text, found = _draw_text(rng, context)
                yield {"set": kind, "text": text, "found": found}


def main() -> None:
    sets = (("cases", TUNED, 20261126), ("held_out", HELD_OUT, 42), ("columns", COLUMNS, 7))
    for name, contexts, seed in sets:
        lines = [json.dumps(case, ensure_ascii=False) + "\n" for case in cases(contexts, seed)]
        (HERE / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
