"""`naru usage` on a real database, without a running service."""

import datetime as dt
import json

from naru_command import Naru, database, naru
from support import scope_of

from gateway.govern.charge import Asked, Charge
from gateway.govern.ledger_record import begun_text, ended_record
from gateway.govern.ledger_store import LedgerStore
from gateway.openai.usage import TokenUsage

__all__ = ["database", "naru"]


async def test_usage_is_shown_exported_and_compared(naru: Naru, database: str) -> None:
    naru.say("tenant", "create", "acme")
    store = LedgerStore(database, None)
    charge = Charge(scope_of("acme", "app"), Asked("chat", "smart"))
    charge.attempt("engine/small", "engine").usage = TokenUsage(1000, 100, 0)
    charge.end()
    await store.add([ended_record(charge, begun_text(charge))])
    await store.close()
    head, row = naru.say("usage", "show", "--by", "model,ending").splitlines()
    assert head.startswith("tenant,model,ending,requests,prompt_tokens")
    assert row.startswith("acme,smart,completed,1,1000,100,0")
    others = ("--client", "x"), ("--model", "x"), ("--target", "x"), ("--ending", "x")
    for other in (*others, ("--end-user", "x")):
        assert naru.say("usage", "show", "--by", "model,ending", *other) == head
    for same in (("--client", "app"), ("--model", "smart"), ("--target", "engine/small")):
        assert naru.say("usage", "show", "--by", "model,ending", *same).endswith(row)
    assert naru.say("usage", "export", "--client", "x") == ""
    rows = json.loads(naru.say("usage", "show", "--tenant", "acme", "--json"))
    assert rows[0]["day"] == dt.datetime.now(dt.UTC).date().isoformat()
    assert json.loads(naru.say("usage", "export"))["id"].replace("-", "") == charge.id
    shown = naru.say("usage", "break-even", "--gpu-hour", "2.5")
    assert "1 requests, 1,000 tokens in, 100 out" in shown
    assert "openai/gpt-4o-mini" in shown
    assert "--gpu-hour" in naru.refuse("usage", "break-even")
    assert "group_by" in naru.refuse("usage", "show", "--by", "nothing", "--tenant", "acme")
    reversed_span = ("--from", "2026-12-01", "--to", "2026-11-01")
    assert "not before `from`" in naru.refuse("usage", "show", *reversed_span)
    assert "no tenant 'nope'" in naru.refuse("usage", "show", "--tenant", "nope")
    assert "no tenant 'nope'" in naru.refuse("usage", "export", "--tenant", "nope")
    for price in ("-1", "0", "nan", "inf"):
        assert "--gpu-hour: give" in naru.refuse("usage", "break-even", f"--gpu-hour={price}")
    naru.say_to_nobody("usage", "export")
    naru.say_to_nobody("audit", "export")
