"""Images and audio in messages: data URLs are bounded and looked at, remote ones fetched here.

An engine or a provider on the inside must not be made to fetch what a caller names, so a URL is
fetched by the gateway (`config.outbound`), and handed on as a data URL.
"""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import Any

import aiohttp

from config.media import MediaSettings
from config.outbound import HostNotAllowed, NotPlain, Outbound, UrlRefused
from gateway.errors import InvalidRequest

_INSTEAD = "send a data URL (data:image/png;base64,…)"
_HEAD = 24  # characters of base64 that hold every signature below

_Part = dict[str, Any]


class Media:
    """Checks the media of requests, and fetches those that are remote."""

    def __init__(self, settings: MediaSettings) -> None:
        self._settings = settings
        self._outbound = Outbound(
            settings.allowed_hosts, settings.allowed_networks, {"accept": "image/*"}
        )

    async def inline(self, messages: Sequence[_Part], *, files: bool) -> None:
        """Check every part of the messages and put data URLs in place of remote ones.

        `files` tells whether the targets take parts of type `file`.

        Raises:
            InvalidRequest: A part is unknown, too large, not what it says, or not to be fetched.
        """
        parts = media_parts(messages)
        if not parts:
            return
        if len(parts) > self._settings.max_parts:
            raise _refused("messages", f"at most {self._settings.max_parts} images, audio, files")
        remote = []
        for where, part in parts:
            if part["type"] == "image_url":
                if not _text(part["image_url"], "url").startswith("data:"):
                    remote.append((where + ".image_url.url", part["image_url"]))
                else:
                    self._check_image(where, part["image_url"]["url"])
            elif part["type"] == "input_audio":
                self._check_audio(where, part["input_audio"])
            else:
                self._check_file(where, part["file"], files=files)
        if remote:
            await self._fetch_all(remote)

    async def close(self) -> None:
        """Close the connections."""
        await self._outbound.close()

    def _check_image(self, where: str, url: str) -> None:
        param = f"{where}.image_url.url"
        head, comma, data = url.partition(",")
        declared = head.removeprefix("data:").removesuffix(";base64").lower()
        if not comma or not head.endswith(";base64"):
            raise _refused(param, "write it as data:image/png;base64,…")
        self._check_size(param, data)
        found = media_type(data)
        if found is None or not found.startswith("image/"):
            raise _refused(param, "not a PNG, JPEG, GIF or WebP image in base64")
        if declared != found and (declared, found) != ("image/jpg", "image/jpeg"):
            raise _refused(param, f"it says {declared[:64]} and is {found}")

    def _check_audio(self, where: str, audio: _Part) -> None:
        param = f"{where}.input_audio.data"
        data = _text(audio, "data")
        self._check_size(param, data)
        if media_type(data) != f"audio/{audio['format']}":
            raise _refused(param, f"not {audio['format']} audio in base64")

    def _check_file(self, where: str, file: _Part, *, files: bool) -> None:
        if not files:
            raise _refused(where, "an engine takes no files: put the text in, or ask an agent")
        self._check_size(f"{where}.file.file_data", file.get("file_data") or "")

    def _check_size(self, param: str, data: str) -> None:
        if len(data) * 3 // 4 > self._settings.max_bytes:
            raise _refused(param, f"over the limit of {self._settings.max_bytes:,} bytes")

    async def _fetch_all(self, remote: list[tuple[str, _Part]]) -> None:
        """Put each image's bytes in place of its URL; they share one bound and one time."""
        left = self._settings.max_bytes
        deadline = asyncio.get_running_loop().time() + self._settings.fetch_timeout_s
        for param, image in remote:
            try:
                async with asyncio.timeout_at(deadline):
                    body = await self._fetch(_text(image, "url"), param, left)
            except (aiohttp.ClientError, OSError, ValueError):
                # TimeoutError and what the resolver refuses are OSErrors.
                message = "can't be fetched: send it as a data URL"
                raise _refused(param, message, code="invalid_image_url") from None
            left -= len(body)
            data = base64.b64encode(body).decode()
            if (found := media_type(data)) is None or not found.startswith("image/"):
                raise _refused(param, "not a PNG, JPEG, GIF or WebP image")
            image["url"] = f"data:{found};base64,{data}"

    async def _fetch(self, url: str, param: str, limit: int) -> bytes:
        try:
            async with self._outbound.get(url) as response:
                response.raise_for_status()
                return await _read(response, param, limit)
        except NotPlain:
            raise _refused(param, _INSTEAD) from None
        except HostNotAllowed:
            message = f"remote media is fetched from `media.allowed_hosts` only: {_INSTEAD}"
            raise _refused(param, message, code="invalid_image_url") from None
        except UrlRefused as error:
            raise _refused(param, str(error), code="invalid_image_url") from None


def media_parts(messages: Sequence[_Part]) -> list[tuple[str, _Part]]:
    """Return the parts of a chat's messages that are no text, each with its path."""
    parts = []
    for number, message in enumerate(messages):
        content = message.get("content")
        if isinstance(content, list):
            for place, part in enumerate(content):
                if part["type"] in ("image_url", "input_audio", "file"):
                    parts.append((f"messages[{number}].content[{place}]", part))
    return parts


async def _read(response: aiohttp.ClientResponse, param: str, limit: int) -> bytes:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > limit:
            raise _refused(param, f"over the limit of {limit:,} bytes")
    return bytes(body)


def media_type(data: str) -> str | None:
    """Return what base64 text begins as, by its first bytes."""
    try:
        head = binascii.a2b_base64(data[:_HEAD])
    except (binascii.Error, ValueError):
        return None
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12])
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] > b"\xdf"):
        return "audio/mp3"
    signatures = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
    return next((name for sign, name in signatures.items() if head.startswith(sign)), None)


def _text(part: _Part, name: str) -> str:
    value = part.get(name)
    return value if isinstance(value, str) else ""


def _refused(param: str, reason: str, code: str = "invalid_media") -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}", param=param, code=code)
