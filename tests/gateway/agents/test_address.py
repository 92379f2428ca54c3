"""How agents are named, and which version a canary gives to whom."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.address import Address, Target, choose, read_address

CANARY = (Target(3, 90), Target(4, 10))
WIDER = (Target(3, 70), Target(4, 30))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hr", Address("hr")),
        ("hr@3", Address("hr", version=3)),
        ("hr@prod", Address("hr", alias="prod")),
        ("9-to-5@v2", Address("9-to-5", alias="v2")),
    ],
)
def test_names(text: str, address: Address) -> None:
    assert read_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "hr@", "@3", "hr@@3", "hr@3@prod", "hr@-1", "hr@03", "hr@1.0", "hr@1_0"),
        *("hr:3", "hr/3", "hr%2f3", "hr%403", "hr\\3", "../hr", "hr\x00", "hr\n", "\nhr", "hr "),
        *("HR", "hr@Prod", "hr@prod\n", "hr@3\n", "-hr", "hr@" + "9" * 10, "a" * 65),
        # Look-alikes: Cyrillic letters, digits of other scripts, full-width signs.
        *("һr", "hr@ргоd", "hr@٣", "hr@３", "hr＠3", "h\u200br", "ｈr"),
    ],
)
def test_what_no_agent_can_be_called(text: str) -> None:
    assert read_address(text) is None


@given(st.text(max_size=80))
def test_an_address_is_what_it_was_read_from(text: str) -> None:
    address = read_address(text)
    if address is not None:
        at = address.alias if address.version is None else str(address.version)
        assert text == address.name + ("" if at is None else f"@{at}")


def test_a_canary_gets_its_share() -> None:
    counted = Counter(choose(CANARY, "acme", f"user-{n}") for n in range(4000))
    assert 0.07 < counted[4] / 4000 < 0.13
    by_chance = Counter(choose(CANARY) for _ in range(4000))
    assert set(by_chance) == {3, 4}


@given(st.text(), st.text())
def test_the_same_user_gets_the_same_version(tenant: str, user: str) -> None:
    first = choose(CANARY, tenant, user)
    assert choose(CANARY, tenant, user) == first
    # A weight that is raised takes nobody away.
    if first == 4:
        assert choose(WIDER, tenant, user) == 4


def test_who_is_who_does_not_depend_on_where_the_parts_end() -> None:
    pairs = [(f"a{n}", "b") for n in range(200)]
    moved = [choose(CANARY, a, b) != choose(CANARY, a + b) for a, b in pairs]
    assert any(moved)
