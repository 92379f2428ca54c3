from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.govern.audit_chain import Inspection, Link, link

KEY = b"k" * 32


def chain_of(length: int, tenant: str = "acme", key: bytes = KEY) -> list[Link]:
    links: list[Link] = []
    previous = b""
    for seq in range(1, length + 1):
        links.append(link(key, seq, previous, {"tenant": tenant, "action": f"a{seq}"}))
        previous = links[-1].hash
    return links


def inspected(links: list[Link], *, before: bytes = b"", prunings: tuple = ()) -> Inspection:
    inspection = Inspection(KEY, "acme")
    inspection.take(links, before)
    inspection.finish((links[-1].seq, links[-1].hash) if links else None, prunings)
    return inspection


def test_a_chain_as_it_was_written_holds() -> None:
    found = inspected(chain_of(5))
    assert (found.checked, found.fault) == (5, None)


@given(st.integers(2, 12), st.data())
def test_no_record_can_be_changed_removed_or_moved(length: int, data: st.DataObject) -> None:
    links = chain_of(length)
    at = data.draw(st.integers(0, length - 1))
    spoilt = data.draw(st.sampled_from(["text", "hash", "left out", "swapped", "doubled"]))
    if spoilt == "text":
        links[at] = replace(links[at], record=links[at].record.replace("a", "b", 1))
    elif spoilt == "hash":
        links[at] = replace(links[at], hash=bytes(32))
    elif spoilt == "left out":
        links = [each for each in links if each is not links[at]]
    elif spoilt == "swapped":
        other = (at + 1) % length
        links[at], links[other] = links[other], links[at]
    else:
        links.insert(at, links[at])
    inspection = Inspection(KEY, "acme")
    inspection.take(links)
    inspection.finish((length, chain_of(length)[-1].hash), [])
    assert inspection.fault


def test_who_lacks_the_key_can_write_no_record() -> None:
    found = inspected(chain_of(3, key=b"x" * 32))
    assert found.fault
    assert found.fault.seq == 1


def test_another_tenants_chain_does_not_pass_for_this_ones() -> None:
    found = inspected(chain_of(3, tenant="rival"))
    assert found.fault
    assert "moved" in found.fault.reason


def test_the_newest_records_can_not_go_while_the_head_stays() -> None:
    links = chain_of(4)
    inspection = Inspection(KEY, "acme")
    inspection.take(links[:3])
    inspection.finish((4, links[3].hash), [])
    assert inspection.fault
    assert "newest" in inspection.fault.reason


@pytest.mark.parametrize("vouched", [True, False])
def test_the_oldest_go_only_with_a_record_of_it(vouched: bool) -> None:
    links = chain_of(5)
    gone = {"through": 2, "hash": links[1].hash.hex()}
    prunings = (gone,) if vouched else ({"through": 1, "hash": links[0].hash.hex()},)
    found = inspected(links[2:], before=links[1].hash, prunings=prunings)
    assert bool(found.fault) is not vouched


def test_an_empty_chain_holds() -> None:
    inspection = Inspection(KEY, "acme")
    inspection.finish(None, [])
    assert inspection.fault is None
