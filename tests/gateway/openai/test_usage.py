"""Token counts that upstreams tell."""

import pytest

from gateway.openai.usage import PromptDetails, TokenUsage, UsageView


def test_a_count_is_taken() -> None:
    usage = TokenUsage(estimated=True)
    assert usage.take(UsageView(5, 7, prompt_tokens_details=PromptDetails(3)))
    assert usage == TokenUsage(5, 7, 3)


@pytest.mark.parametrize(
    "told",
    [
        UsageView(-5, 7),
        UsageView(5, -7),
        UsageView(10**18, 10**19),
        UsageView(5, 7, prompt_tokens_details=PromptDetails(-1)),
    ],
)
def test_what_can_be_no_count_is_not_taken(told: UsageView) -> None:
    usage = TokenUsage(1, 2, estimated=True)
    assert not usage.take(told)
    assert usage == TokenUsage(1, 2, estimated=True)
