"""What users think of agents' answers, as the agent's policy lets it be stored."""

import asyncpg

from config.scope import TenantScope
from gateway.agents.registry import find_agent
from gateway.errors import NotFound
from gateway.govern.masking.masking import Masking
from gateway.sessions.feedback import Feedback, Opinion, give_feedback, rated_agent


async def rate(
    pool: asyncpg.Pool, scope: TenantScope, message_id: str, opinion: Opinion, masking: Masking
) -> Feedback:
    """Keep what the caller thinks of an agent's answer; the last opinion counts.

    Raises:
        NotFound: The message is not an agent's answer in a session of the caller's.
    """
    agent = await rated_agent(pool, scope, message_id)
    policy = masking.policies.at(
        "storage", tenant=scope.tenant, model=await _model_of(pool, scope, agent), agent=agent
    )
    texts = opinion.comment, opinion.corrected
    comment, corrected = [text and await masking.mask(text, policy) for text in texts]
    return await give_feedback(pool, scope, message_id, Opinion(opinion.up, comment, corrected))


async def _model_of(pool: asyncpg.Pool, scope: TenantScope, agent: str) -> str:
    """Return the model that the agent asks; "" where the caller has the agent no more."""
    try:
        return (await find_agent(pool, scope, agent)).definition.model
    except NotFound:
        return ""
