import asyncio

import pytest

from config.scope import TenantScope
from gateway.errors import ClientGone, UpstreamError
from gateway.govern.charge import Asked, Charge

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
