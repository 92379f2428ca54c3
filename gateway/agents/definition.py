"""What makes an agent: its words, its model, what it answers from, and by which rules."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$(?!\n)"
"""How an agent may be called. `$` alone would let a line break follow."""

AgentName = Annotated[str, Meta(pattern=NAME_PATTERN)]
ModelName = Annotated[str, Meta(min_length=1, max_length=128)]
StoreId = Annotated[str, Meta(min_length=1, max_length=64)]
VariableName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$(?!\n)")]
Share = Annotated[float, Meta(ge=0, le=1)]

MAX_STORES = 16
MAX_VARIABLES = 32


class RetrievalPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How passages are found; how many, `top_k`, stands beside it.

    `score_threshold` leaves out passages that score less. `dense_weight` is the share of the
    embedding in the score; null takes what is fitted for the store. `rerank` says whether the
    reranker is asked, where there is one.
    """

    score_threshold: Share = 0.0
    dense_weight: Share | None = None
    rerank: bool = True


class HistoryPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a conversation the model is given again, the newest first.

    At most `messages` messages and `tokens` tokens; null takes the service's own limit
    (`sessions.history_tokens`), and no limit of messages. With `summarize` what falls out is given
    as a summary.
    """

    messages: Annotated[int, Meta(ge=0, le=1000)] | None = None
    tokens: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    summarize: bool = False


class AnswerPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do when the documents do not hold the answer.

    `abstain` says so; `answer` lets the model answer without sources, and the reply says that there
    are none. Below `threshold`, the estimated probability that the passages hold the answer, they
    count as not holding it; null takes the fitted one.
    """

    without_sources: Literal["abstain", "answer"] = "abstain"
    threshold: Share | None = None


class TextVariable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="string"):
    """A text of at most `max_length` characters; with `choices`, one of them."""

    description: str = ""
    max_length: Annotated[int, Meta(ge=1, le=4000)] = 200
    choices: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    default: str | None = None


class IntegerVariable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="integer"):
    """A whole number within its bounds, both included."""

    description: str = ""
    minimum: int = -(2**53)
    maximum: int = 2**53
    default: int | None = None


class NumberVariable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="number"):
    """A number within its bounds, both included."""

    description: str = ""
    minimum: float = -1e15
    maximum: float = 1e15
    default: float | None = None


class BooleanVariable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="boolean"):
    """True or false."""

    description: str = ""
    default: bool | None = None


Variable = TextVariable | IntegerVariable | NumberVariable | BooleanVariable
"""What a request fills in; without a `default` it must."""


class AgentDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent: its words, its model alias, and the vector stores it answers from.

    `{{name}}` in `instructions` is the value of a variable. With the residency `local` its prompts
    never leave for a model that is not our own.
    """

    name: AgentName
    instructions: Annotated[str, Meta(max_length=100_000)]
    model: ModelName
    vector_stores: Annotated[tuple[StoreId, ...], Meta(max_length=MAX_STORES)]
    top_k: Annotated[int, Meta(ge=1, le=50)] = 5
    residency: Literal["any", "local"] = "any"
    description: Annotated[str, Meta(max_length=1000)] = ""
    retrieval: RetrievalPolicy = RetrievalPolicy()
    history: HistoryPolicy = HistoryPolicy()
    answer: AnswerPolicy = AnswerPolicy()
    variables: Annotated[dict[VariableName, Variable], Meta(max_length=MAX_VARIABLES)] = (
        msgspec.field(default_factory=dict)
    )
