"""References: where an answer's `[n]` comes from."""

import re
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from gateway.openai.chat_request import JsonObject

_MARKER = re.compile(r"\[(\d{1,3})\]")


class Reference(msgspec.Struct):
    """A cited passage.

    `index` is the n of its `[n]`; `content` is the text from `start` to `end` (characters) of the
    page, or of the document where the format has no pages (`page` is null then).
    """

    index: int
    source: str
    page: int | None
    content: str
    score: float
    document_id: str
    chunk_id: str
    start: int
    end: int


async def hiding(
    references: Sequence[Reference], hidden: Callable[[str], Awaitable[str]]
) -> list[Reference]:
    """Return references whose quotes and files' names are as `hidden` lets them be seen."""
    return [
        msgspec.structs.replace(
            each, source=await hidden(each.source), content=await hidden(each.content)
        )
        for each in references
    ]


class IndexContext(msgspec.Struct):
    """A cited passage, as VMware Private AI Services tells of one."""

    text: str
    score: float
    document_id: str
    origin_name: str
    metadata: JsonObject


def file_citations(text: str, references: Sequence[Reference]) -> list[JsonObject]:
    """Return OpenAI's annotation for every `[n]` in the text that is a reference's.

    `index` is where the marker begins in the text. What follows `filename` is Naru's own: the place
    in the document.
    """
    cited = {reference.index: reference for reference in references}
    return [
        _file_citation(cited[int(marker[1])], marker.start())
        for marker in _MARKER.finditer(text)
        if int(marker[1]) in cited
    ]


def _file_citation(reference: Reference, at: int) -> JsonObject:
    return {
        "type": "file_citation",
        "index": at,
        "file_id": reference.document_id,
        "filename": reference.source,
        "page": reference.page,
        "start": reference.start,
        "end": reference.end,
        "chunk_id": reference.chunk_id,
    }
