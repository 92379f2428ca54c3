"""Uploaded files and data URLs of what a model is asked, made ready for its target."""

import base64
import binascii
import mimetypes
from collections.abc import Sequence

import asyncpg
import msgspec

from auth import require
from config.media import MediaSettings
from config.scope import TenantScope
from gateway.errors import InvalidRequest, TooLarge, naming
from gateway.media import media_parts, media_type
from gateway.openai.chat_request import JsonObject
from gateway.openai.response_items import (
    InputFile,
    InputImage,
    InputPart,
    InputText,
    Item,
    Message,
    OutputPart,
)
from rag import Storage, UnreadableDocument, get_file, read_file
from rag.chunk import Cut
from rag.parse.apart import Parser
from rag.ruler import RulerSource
from rag.tokenizer import TokenizerSource

_CUT = Cut(2000)
_NO_MODEL = RulerSource(TokenizerSource(), ())
_PARSE_S = 60.0


class Uploads:
    """Puts files in the place of their ids, and texts in the place of files."""

    def __init__(
        self, pool: asyncpg.Pool, storage: Storage, parser: Parser, settings: MediaSettings
    ) -> None:
        self._pool = pool
        self._storage = storage
        self._parser = parser
        self._settings = settings

    async def put_in_place(
        self, scope: TenantScope, items: Sequence[Item], *, as_text: bool
    ) -> list[Item]:
        """Return the items with data URLs for ids; with `as_text`, documents as their text.

        Raises:
            NotFound: The caller has no such file.
            InvalidRequest: A file can't be read.
            TooLarge: A file is over the limit.
            InsufficientScope: A file's id is named without the scope to read files.
        """
        return [await self._item(scope, item, as_text) for item in items]

    async def put_in_messages(self, scope: TenantScope, messages: Sequence[JsonObject]) -> None:
        """Put data URLs in the place of the ids of files in a chat's messages.

        Whatever stands there goes out under the operator's key: no id is passed on.

        Raises:
            NotFound: The caller has no such file; `param` names it.
            TooLarge: A file is over the limit.
            InsufficientScope: A file's id is named without the scope to read files.
        """
        for where, part in media_parts(messages):
            file = part.get("file") or {}
            if file_id := file.pop("file_id", None):
                param = f"{where}.file.file_id"
                with naming("file", param):
                    name, data = await self._read(scope, file_id, param)
                file |= {"filename": name, "file_data": _data_url(name, data)}

    async def check(self, scope: TenantScope, items: Sequence[Item]) -> None:
        """Refuse ids of files that the caller does not have, and read nothing yet.

        Raises:
            NotFound: The caller has no such file.
            InsufficientScope: A file's id is named without the scope to read files.
        """
        for item in items:
            for part in item.parts if isinstance(item, Message) else ():
                if isinstance(part, InputFile | InputImage) and part.file_id:
                    require(scope, "knowledge")
                    await get_file(self._pool, scope, part.file_id)

    async def _item(self, scope: TenantScope, item: Item, as_text: bool) -> Item:  # noqa: FBT001
        if not isinstance(item, Message) or item.role != "user":
            return item
        parts = [await self._part(scope, part, as_text) for part in item.parts]
        return msgspec.structs.replace(item, content=parts)

    async def _part(
        self,
        scope: TenantScope,
        part: InputPart | OutputPart,
        as_text: bool,  # noqa: FBT001
    ) -> InputPart | OutputPart:
        if isinstance(part, InputImage) and part.file_id:
            _, data = await self._read(scope, part.file_id)
            encoded = base64.b64encode(data).decode()
            url = f"data:{media_type(encoded)};base64,{encoded}"
            return msgspec.structs.replace(part, image_url=url, file_id=msgspec.UNSET)
        if not isinstance(part, InputFile) or (part.file_data and not as_text):
            return part
        name, data = await self._document(scope, part)
        if as_text:
            return InputText(await self._text(name, data))
        return InputFile(filename=name, file_data=_data_url(name, data))

    async def _document(self, scope: TenantScope, part: InputFile) -> tuple[str, bytes]:
        if part.file_id:
            return await self._read(scope, part.file_id)
        encoded = str(part.file_data).rpartition(",")[2]
        self._check_size(len(encoded) * 3 // 4)
        try:
            return part.filename or "unnamed", base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise _refused("file_data: write it as data:application/pdf;base64,…") from None

    async def _read(
        self, scope: TenantScope, file_id: str, param: str = "input"
    ) -> tuple[str, bytes]:
        require(scope, "knowledge")
        file = await get_file(self._pool, scope, file_id)
        self._check_size(file.bytes, param)
        data = b"".join(
            [part async for part in read_file(self._pool, scope, file_id, self._storage)]
        )
        return file.filename, data

    def _check_size(self, size: int, param: str = "input") -> None:
        limit = self._settings.max_bytes
        if size > limit:
            message = f"{param}: a file is over the limit of {limit:,} bytes"
            raise TooLarge(message, param=param, code="file_too_large")

    async def _text(self, name: str, data: bytes) -> str:
        """Return a document as text, fenced: it is data."""
        try:
            read = await self._parser.read(
                name, data, cut=_CUT, ruler=_NO_MODEL, timeout_s=_PARSE_S
            )
        except UnreadableDocument as error:
            raise _refused(f"a file can't be read: {error}") from None
        text = "\n\n".join(chunk.content for chunk in read.chunks)
        quoted = name.replace('"', "'")
        return f'<file name="{quoted}">\n{text.replace("</file", "< /file")}\n</file>'


def _data_url(name: str, data: bytes) -> str:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"input: {reason}", param="input", code="invalid_file")
