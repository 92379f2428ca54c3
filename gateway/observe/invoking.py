"""An agent's turn as OpenTelemetry's conventions have it."""

from contextlib import AbstractContextManager
from typing import Any

from gateway.observe.phases import traced


def invoking(name: str, version: int) -> AbstractContextManager[Any]:
    """Return the span of a turn, until it is answered or its stream has begun."""
    told = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": name,
        "gen_ai.agent.version": str(version),
    }
    return traced(f"invoke_agent {name}", told)
