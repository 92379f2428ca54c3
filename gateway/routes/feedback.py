"""`/v1/feedback`: what users think of answers. `/admin/feedback`: what came of it."""

from typing import Annotated, Literal

import msgspec
from litestar import Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from gateway.agents.comparison import Comparison, compare
from gateway.agents.rating import rate
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import Deleted
from gateway.sessions.feedback import (
    Feedback,
    Opinion,
    RatedTurn,
    list_feedback,
    take_back_feedback,
    tally_feedback,
)

_LONGEST = 20_000
_Text = Annotated[str, Meta(max_length=_LONGEST)]

Rating = Literal["up", "down"]


class GiveFeedback(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/feedback`; `corrected_answer` is what would have been right."""

    message_id: str
    rating: Rating
    comment: _Text | None = None
    corrected_answer: _Text | None = None


class FeedbackObject(msgspec.Struct):
    """What a user thinks of an answer."""

    message_id: str
    rating: Rating
    comment: str | None
    corrected_answer: str | None
    agent: str
    agent_version: int | None
    created: int
    object: Literal["feedback"] = "feedback"


class RatedTurnList(msgspec.Struct):
    """Ratings with their turns, the oldest first; `next` is the next page's `after`, or null."""

    data: list[RatedTurn]
    next: str | None


@post(
    "/v1/feedback",
    opt=needs("agents"),
    status_code=200,
    tags=["feedback"],
    operation_id="give_feedback",
)
async def give(data: JSONBody[GiveFeedback], caller: Caller, services: Provided) -> FeedbackObject:
    """Rate an agent's answer in one's own session; the last rating counts."""
    opinion = Opinion(data.rating == "up", data.comment, data.corrected_answer)
    kept = await rate(services.pool, caller, data.message_id, opinion, services.masking)
    return _object(kept)


@delete(
    "/v1/feedback/{message_id:str}",
    opt=needs("agents"),
    status_code=200,
    tags=["feedback"],
    operation_id="delete_feedback",
)
async def take_back(message_id: FromPath[str], caller: Caller, services: Provided) -> Deleted:
    """Take a rating back."""
    await take_back_feedback(services.pool, caller, message_id)
    return Deleted(message_id, "feedback.deleted")


@get("/", operation_id="list_feedback")
async def list_all(
    caller: Caller,
    services: Provided,
    agent: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
) -> RatedTurnList:
    """List the tenant's ratings with question, answer and references."""
    rows = await list_feedback(services.pool, caller, agent=agent, after=after, limit=limit + 1)
    shown = rows[:limit]
    return RatedTurnList(shown, shown[-1].message_id if len(rows) > limit else None)


@get("/compare", operation_id="compare_agent_versions")
async def compare_versions(agent: FromQuery[str], caller: Caller, services: Provided) -> Comparison:
    """Compare an agent's versions by their ratings."""
    return compare(agent, await tally_feedback(services.pool, caller, agent))


def _object(kept: Feedback) -> FeedbackObject:
    return FeedbackObject(
        message_id=kept.message_id,
        rating="up" if kept.up else "down",
        comment=kept.comment,
        corrected_answer=kept.corrected,
        agent=kept.agent,
        agent_version=kept.agent_version,
        created=kept.created_at,
    )


HANDLERS = [give, take_back]
ADMIN = Router(
    "/admin/feedback",
    route_handlers=[list_all, compare_versions],
    opt=needs("admin"),
    tags=["administration"],
)
