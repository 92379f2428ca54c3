"""Moving on, and not moving on."""

from collections.abc import AsyncGenerator

import pytest

from gateway.errors import GatewayError, InvalidRequest, Overloaded, UpstreamError, UpstreamRefused
from gateway.generation.ladder import Ladder
from gateway.generation.target import Completion, Prompt, Stream

PROMPT = Prompt({})


class _Rung:
    accepts_unknown = True

    def __init__(self, name: str, error: GatewayError | None = None) -> None:
        self.name = name
        self.error = error
        self.asked = 0

    async def complete(self, prompt: Prompt) -> Completion:
        self.asked += 1
        if self.error:
            raise self.error
        return Completion(b"{}", self.name)

    async def stream(self, prompt: Prompt) -> Stream:
        await self.complete(prompt)

        async def payloads() -> AsyncGenerator[bytes, None]:
            yield b"{}"

        return Stream(payloads(), self.name)


async def test_the_first_rung_answers() -> None:
    first, second = _Rung("a"), _Rung("b")
    completion = await Ladder("x", [first, second]).complete(PROMPT)
    assert (completion.target, completion.attempts, second.asked) == ("a", 1, 0)


@pytest.mark.parametrize("error", [UpstreamError("down"), Overloaded("full")])
async def test_a_failing_rung_is_passed(error: GatewayError) -> None:
    ladder = Ladder("x", [_Rung("a", error), _Rung("b")])
    completion, stream = await ladder.complete(PROMPT), await ladder.stream(PROMPT)
    assert (completion.target, completion.attempts) == ("b", 2)
    assert (stream.target, stream.attempts) == ("b", 2)


async def test_the_callers_own_fault_is_not_tried_elsewhere() -> None:
    second = _Rung("b")
    refused = UpstreamRefused(400, "bad temperature", param="temperature", code=None)
    with pytest.raises(UpstreamRefused):
        await Ladder("x", [_Rung("a", refused), second]).complete(PROMPT)
    assert second.asked == 0


async def test_when_all_fail_the_first_failure_is_the_answer() -> None:
    rungs = [_Rung("a", UpstreamError("down")), _Rung("b", InvalidRequest("no model"))]
    with pytest.raises(UpstreamError, match="down"):
        await Ladder("x", rungs).complete(PROMPT)
