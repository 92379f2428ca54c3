"""`naru audit` on a real database."""

import asyncpg
import pytest
from naru_command import Naru, database, naru

__all__ = ["database", "naru"]


def test_what_commands_change_is_recorded_and_verified(naru: Naru) -> None:
    naru.say("tenant", "create", "acme", "--name", "A")
    naru.say("tenant", "list")
    lines = naru.say("audit", "export").splitlines()
    assert ['"create_tenant"' in line for line in lines] == [True, True]
    assert '"outcome":"begun"' in lines[1]
    assert naru.say("audit", "verify").startswith("ok     @system: 2 records, anchor @system:2:")


def test_a_command_that_fails_says_so(naru: Naru) -> None:
    naru.refuse("tenant", "disable", "nobody")
    assert '"outcome":"failed"' in naru.say("audit", "export").splitlines()[0]


async def test_tampering_is_found(naru: Naru, database: str) -> None:
    naru.say("tenant", "create", "acme")
    naru.say("tenant", "create", "other")
    anchor = naru.say("audit", "verify").rsplit(" ", 1)[1]
    owner = await asyncpg.connect(database)
    await owner.execute("SELECT set_config('naru.tenant', '@system', false)")
    await owner.execute("ALTER TABLE audit_log DISABLE TRIGGER USER")
    # Cut off at the end, with a head that fits: only an anchor shows it.
    await owner.execute("DELETE FROM audit_log WHERE seq > 2")
    await owner.execute(
        "UPDATE audit_heads SET (seq, hash) = (SELECT seq, hash FROM audit_log WHERE seq = 2)"
    )
    assert naru.say("audit", "verify").startswith("ok")
    cut = naru.run("audit", "verify", "--anchor", anchor)
    assert (cut.returncode, "not there any more" in cut.stdout) == (1, True)
    forged = "UPDATE audit_log SET record = replace(record::text, 'acme', 'evil')::json"
    await owner.execute(f"{forged} WHERE seq = 1")
    changed = naru.run("audit", "verify")
    assert (changed.returncode, "BROKEN @system: record 1" in changed.stdout) == (1, True)
    await owner.close()


def test_pruning_leaves_a_chain_that_holds(naru: Naru) -> None:
    naru.say("tenant", "create", "acme")
    older = naru.say("audit", "verify").rsplit(" ", 1)[1]
    naru.say("tenant", "create", "other")
    newest = naru.say("audit", "verify").rsplit(" ", 1)[1]
    assert naru.say("audit", "prune", "--days", "1") == "@system: 0 records deleted"
    assert naru.say("audit", "prune", "--days", "0") == "@system: 4 records deleted"
    assert naru.say("audit", "prune", "--days", "0") == "@system: 0 records deleted"
    assert naru.say("audit", "verify", "--anchor", newest).startswith("ok     @system: 1 records")
    shown = naru.say("audit", "verify", "--anchor", older).splitlines()
    assert shown[1] == "pruned @system: record 2 of the anchor is older than what is kept"
    for seq in (4, 5):  # the last one that was deleted, and the one that says so
        forged = naru.run("audit", "verify", "--anchor", f"@system:{seq}:" + "0" * 64)
        told = f"BROKEN @system: record {seq} of the anchor has another hash now"
        assert (forged.returncode, told in forged.stdout) == (1, True)


@pytest.mark.parametrize("anchor", ["nonsense", "acme:x:y", f"acme:{10**19}:y"])
def test_an_anchor_must_be_one(naru: Naru, anchor: str) -> None:
    naru.say("tenant", "create", "acme")
    refused = naru.refuse("audit", "verify", "--tenant", "acme", "--anchor", anchor)
    assert "TENANT:SEQ:HASH" in refused


def test_an_unknown_tenant_is_an_error(naru: Naru) -> None:
    naru.say("tenant", "create", "acme")
    for command in (("verify",), ("export",), ("prune", "--days", "1")):
        refused = naru.refuse("audit", *command, "--tenant", "nope")
        assert refused == "naru: there is no tenant 'nope'\n"
    assert naru.say("audit", "verify", "--tenant", "acme").startswith("ok     acme: 0 records")
    assert naru.say("audit", "verify", "--tenant", "@system").startswith("ok     @system: 2")


def test_times_are_told_from_what_is_none(naru: Naru) -> None:
    for days in ("nan", "inf", "-inf", "-1", "-1e300"):
        assert "--days: give a number" in naru.refuse("audit", "prune", f"--days={days}")
    for option in ("--since", "--until"):
        assert option in naru.refuse("audit", "export", option, "99999999999999999999")
        assert option in naru.refuse("audit", "export", f"{option}=-1")
