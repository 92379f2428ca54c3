"""`naru replay`: a question of a session again, with another version of an agent."""

import shutil
import textwrap
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from gateway.commands.remote import call, connect, segment
from gateway.credentials import Credentials

_LEAST_WIDTH = 30


async def replay(
    credentials: Credentials, session_id: str, message_id: str, agent: str
) -> dict[str, Any]:
    """Return the stored answer and the new one, each with its trace.

    Raises:
        ConfigError: The service does not answer, or refuses.
    """
    path = f"/v1/sessions/{segment(session_id)}/messages/{segment(message_id)}/replay"
    async with connect(credentials) as session:
        return await call(session, "POST", path, json={"agent": agent})


def side_by_side(told: dict[str, Any], columns: int | None = None) -> Iterator[str]:
    """Yield both answers as lines, the stored one on the left."""
    wide = columns or shutil.get_terminal_size((100, 24)).columns
    width = max(_LEAST_WIDTH, (wide - 3) // 2)
    yield f"Question: {told['question']}"
    left = _column(told["original"], told["original_trace"], width)
    right = _column(told["replayed"], told["replayed_trace"], width)
    for one, other in zip_longest(left, right, fillvalue=""):
        yield f"{one:<{width}} | {other}".rstrip()


def _column(reply: dict[str, Any], trace: dict[str, Any] | None, width: int) -> list[str]:
    version = f"@{trace['agent_version']}" if trace else ""
    paragraphs = [f"{reply['agent']}{version}, {reply['model']}", "", reply["response"], ""]
    for each in reply["references"]:
        page = f", page {each['page']}" if each["page"] else ""
        paragraphs.append(f"[{each['index']}] {each['source']}{page}, score {each['score']}")
    paragraphs += ["", *_traced(trace)] if trace else ["", "stored without a trace"]
    return [line for text in paragraphs for line in textwrap.wrap(text, width) or [""]]


def _traced(trace: dict[str, Any]) -> Iterator[str]:
    searched, verdict = trace["searched"], trace["verdict"]
    yield f"searched ({searched['by']}): {searched['text']}"
    yield f"verdict: {verdict['confidence']} of {verdict['threshold']}, {verdict['reason']}"
    if trace["abstained"]:
        yield f"abstained: {trace['abstained']}"
    yield f"index {trace['index_version']}"
    for each in trace["candidates"]:
        yield f"{each['score']} {each['outcome']} {each['source']} {each['chunk_id']}"
