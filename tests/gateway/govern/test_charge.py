import asyncio

import pytest

import rag
from config.scope import TenantScope
from gateway.errors import ClientGone, UpstreamError
from gateway.govern.charge import Asked, Charge, Exchange, begin_exchange

SCOPE = TenantScope("t", "c", frozenset())


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (None, "completed"),
        (UpstreamError("no", code="upstream_unreachable"), "upstream_unreachable"),
        (UpstreamError("no"), "upstream_error"),
        (ClientGone("left", code="client_gone"), "client_gone"),
        (asyncio.CancelledError(), "client_gone"),
        (GeneratorExit(), "client_gone"),
        (ValueError("ours"), "internal_error"),
        (rag.NotFound("vector store", "vs_x"), "not_found"),
        (ConnectionError(), "store_unavailable"),
    ],
)
def test_endings(error: BaseException | None, ending: str) -> None:
    charge = Charge(SCOPE, Asked("chat", "m"))
    charge.end(error)
    assert charge.ending == ending


def test_the_first_ending_stays() -> None:
    charge = Charge(SCOPE, Asked("chat", "m"))
    charge.end(UpstreamError("no", code="upstream_interrupted"))
    charge.end()
    assert charge.ending == "upstream_interrupted"


async def test_who_knows_better_than_that_the_client_left_says_so() -> None:
    async def request() -> tuple[str, str]:
        exchange = Exchange("req-1")
        begin_exchange(exchange)
        charge = await asyncio.create_task(asyncio.to_thread(Charge, SCOPE, Asked("chat", "m")))
        exchange.left = "server_shutdown"
        charge.end(asyncio.CancelledError())
        return charge.exchange.request_id, charge.ending

    assert await asyncio.create_task(request()) == ("req-1", "server_shutdown")
    other = Charge(SCOPE, Asked("chat", "m"))
    other.end(asyncio.CancelledError())
    assert (other.exchange.request_id, other.ending) == ("", "client_gone")


def test_of_two_attempts_alike_the_one_that_was_not_asked_is_withdrawn() -> None:
    charge = Charge(SCOPE, Asked("chat", "m"))
    asked, rests = charge.attempt("fake/x", "hosted"), charge.attempt("fake/x", "hosted")
    charge.withdraw(rests)
    (left,) = charge.attempts
    assert left is asked


def test_who_broke_off_is_named_after_who_was_passed_before() -> None:
    charge = Charge(SCOPE, Asked("chat", "m"), fallback="fake/x: target_rests")
    charge.note_passed("fake/y: upstream_interrupted", None)
    assert charge.fallback == "fake/x: target_rests, fake/y: upstream_interrupted"
    charge.note_passed("fake/z: upstream_timeout")
    assert charge.fallback.endswith("fake/y: upstream_interrupted, fake/z: upstream_timeout")
