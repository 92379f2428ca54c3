"""How a caller limits and ranks a search: OpenAI's words made those of `rag`."""

from msgspec import UNSET

from gateway.errors import InvalidRequest
from gateway.openai import store_search as wire
from rag import Comparison, Compound, Filter, SearchOptions


def filter_of(node: wire.FilterNode, param: str) -> Filter:
    """Return a filter of a request.

    Raises:
        InvalidRequest: Its parts do not go together; `param` names the one.
        FilterRefused: It is out of its bounds.
    """
    if node.type == "and" or node.type == "or":  # noqa: PLR1714 - so that the checker follows
        if node.filters is UNSET or node.key is not UNSET or node.value is not UNSET:
            raise InvalidRequest(f"{param}: {node.type!r} takes `filters` alone", param=param)
        inner = [filter_of(each, f"{param}.filters[{n}]") for n, each in enumerate(node.filters)]
        return Compound(node.type, inner)
    if node.key is UNSET or node.value is UNSET or node.filters is not UNSET:
        raise InvalidRequest(f"{param}: {node.type!r} takes `key` and `value`", param=param)
    return Comparison(node.key, node.type, node.value)


def options_of(given: wire.RankingOptions | None) -> SearchOptions:
    """Return how a request has its results ranked."""
    given = given or wire.RankingOptions()
    weights = given.hybrid_search
    share = None
    if weights:
        share = weights.embedding_weight / (weights.embedding_weight + weights.text_weight)
    return SearchOptions(
        score_threshold=given.score_threshold or 0.0,
        dense_weight=share,
        rerank=False if given.ranker == "none" else None,
    )
