"""Whose a sample of `make bench-phases` is."""

import pytest
from phases import OTHER, phase_of, shares

LOOP = ["main (gateway/web_worker.py:40)", "run (asyncio/runners.py:118)"]


@pytest.mark.parametrize(
    ("frames", "phase"),
    [
        (["reserve (gateway/govern/limits.py:80)", "send (redis/asyncio/client.py:5)"], "limits"),
        (["chat (gateway/routes/chat.py:5)", "ask (gateway/generation/upstream.py:9)"],
         "upstream client"),
        (["handle (/x/site-packages/litestar/routes/http.py:5)"], "Litestar"),
        (["read (/x/site-packages/redis/_parsers/base.py:5)"], "Redis client"),
    ],
)  # fmt: skip
def test_a_stack_is_of_its_innermost_phase(frames: list[str], phase: str):
    assert phase_of([*LOOP, *frames]) == phase


def test_what_no_phase_claims_is_of_the_rest():
    assert phase_of(["run (asyncio/runners.py:118)", "select (native)"]) == OTHER


def test_shares_are_of_all_samples_but_those_of_who_waits():
    lines = ["a (gateway/routes/chat.py:1) 3", "b (asyncio/events.py:1);c (rag/search.py:2) 1"]
    lines.append("run (threading.py:982);Condition.wait (threading.py:331) 9")
    assert shares(lines) == {"routes": 0.75, "retrieval": 0.25}
