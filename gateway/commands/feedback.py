"""Feedback of the running service: exported for evaluation and fine-tuning, and compared."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec

from config.errors import ConfigError
from gateway.commands.remote import call, connect
from gateway.credentials import Credentials

_PAGE = 500
Form = Callable[[dict[str, Any]], Iterator[dict[str, Any]]]


async def export(
    credentials: Credentials, agent: str | None, form: str, show: Callable[[str], None]
) -> None:
    """Print the tenant's feedback as JSON lines in one of `FORMS`.

    Raises:
        ConfigError: There is no such form, or the service refuses it.
    """
    if form not in FORMS:
        raise ConfigError(f"no form `{form}`: there are {', '.join(FORMS)}")
    async with connect(credentials) as session:
        async for turn in _turns(session, agent):
            for line in FORMS[form](turn):
                show(msgspec.json.encode(line).decode())


async def compared(credentials: Credentials, agent: str) -> dict[str, Any]:
    """Return the comparison of an agent's versions.

    Raises:
        ConfigError: The service refuses it.
    """
    async with connect(credentials) as session:
        path = f"/admin/feedback/compare?{urlencode({'agent': agent})}"
        return await call(session, "GET", path)


def table(comparison: dict[str, Any]) -> list[str]:
    """Return the lines that tell a comparison."""
    lines = [f"{'version':>8} {'up':>6} {'down':>6}   share   95 % interval"]
    lines += [
        f"{_named(each):>8} {each['up']:>6} {each['down']:>6}  {each['share']:6.1%}"
        f"   {each['low']:.1%} to {each['high']:.1%}"
        for each in comparison["versions"]
    ]
    for each in comparison["differences"]:
        sure = "a difference" if each["significant"] else "no difference that is sure"
        lines.append(
            f"{_named(each)} against {each['than'] or '?'}: {each['difference']:+.1%}"
            f" ({each['low']:+.1%} to {each['high']:+.1%}): {sure}"
        )
    return lines


def _named(each: dict[str, Any]) -> str:
    return str(each["version"] or "?")


async def _turns(
    session: aiohttp.ClientSession, agent: str | None
) -> AsyncIterator[dict[str, Any]]:
    query: dict[str, str] = {"limit": str(_PAGE)} | ({"agent": agent} if agent else {})
    while True:
        page = await call(session, "GET", f"/admin/feedback?{urlencode(query)}")
        for turn in page["data"]:
            yield turn
        if page["next"] is None:
            return
        query["after"] = page["next"]


def _whole(turn: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield turn


def _for_evaluation(turn: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A question for `naru eval`: what a liked answer cited should be found again."""
    if turn["up"] and turn["question"] and turn["references"]:
        answers = [
            {"source": each["source"], "page": each["page"], "contains": each["content"]}
            for each in turn["references"]
        ]
        yield {"question": turn["question"], "answers": answers}


def _for_tuning(turn: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A dialogue in OpenAI's fine-tuning format: what was liked, or how it was corrected."""
    answer = turn["corrected"] or (turn["answer"] if turn["up"] else "")
    if turn["question"] and answer:
        messages = [
            {"role": "user", "content": turn["question"]},
            {"role": "assistant", "content": answer},
        ]
        yield {"messages": messages}


FORMS: dict[str, Form] = {"full": _whole, "eval": _for_evaluation, "chat": _for_tuning}
