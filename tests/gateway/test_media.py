"""Images and audio of requests: what is looked at, what is fetched, and what never is."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from config.media import MediaSettings
from gateway.errors import InvalidRequest
from gateway.media import Media

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
JPEG = b"\xff\xd8\xff\xe0" + bytes(64)
WAV = b"RIFF\0\0\0\0WAVE" + bytes(64)
LOOPBACK = ["127.0.0.0/8"]


def data_url(body: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(body).decode()}"


def image(url: str) -> list[dict[str, Any]]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, part]}]


def audio(body: bytes, kind: str = "wav") -> list[dict[str, Any]]:
    sound = {"data": base64.b64encode(body).decode(), "format": kind}
    return [{"role": "user", "content": [{"type": "input_audio", "input_audio": sound}]}]


def file() -> list[dict[str, Any]]:
    part = {"type": "file", "file": {"file_id": "file-1"}}
    return [{"role": "user", "content": [part]}]


async def inline(messages: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    media = Media(MediaSettings.model_validate(settings))
    try:
        await media.inline(messages, files=False)
    finally:
        await media.close()
    return messages


async def refusal(messages: list[dict[str, Any]], **settings: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        await inline(messages, **settings)
    return refused.value


class Site:
    """A web server on this machine, and the paths it was asked for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"

    def settings(self, **more: Any) -> dict[str, Any]:
        hosts = [f"{host}:{self.port}" for host in ("127.0.0.1", "localhost")]
        return {"allowed_hosts": hosts, "allowed_networks": LOOPBACK, **more}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        playing = Site(listening.getsockname()[1])

        async def answer(request: web.Request) -> web.StreamResponse:
            path = request.match_info["path"]
            playing.asked.append(path)
            playing.headers.append(dict(request.headers))
            match path:
                case "image.png":
                    return web.Response(body=PNG, content_type="text/html")
                case "page":
                    return web.Response(text="<html>secret</html>")
                case "large":
                    return web.Response(body=PNG + bytes(100_000))
                case "slow":
                    await asyncio.Event().wait()
                case "again":
                    raise web.HTTPFound("/again")
                case "moved":
                    raise web.HTTPFound("/image.png")
                case "away":
                    raise web.HTTPFound("http://169.254.169.254/latest")
            raise web.HTTPNotFound

        application = web.Application()
        application.router.add_get("/{path}", answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        yield playing
        await runner.cleanup()


async def test_data_urls_are_passed_on() -> None:
    for url in (data_url(PNG), data_url(JPEG, "image/jpeg"), data_url(JPEG, "image/jpg")):
        assert await inline(image(url)) == image(url)
    assert await inline(audio(WAV)) == audio(WAV)


@pytest.mark.parametrize(
    "url",
    [
        data_url(b"<svg onload=alert(1)>", "image/svg+xml"),
        data_url(JPEG, "image/png"),
        data_url(WAV, "image/png"),
        "data:image/png,abc",
        "data:image/png;base64,",
        "data:image/png;base64,????",
        "data:",
        "",
    ],
)
async def test_what_is_not_the_image_it_says_is_refused(url: str) -> None:
    refused = await refusal(image(url))
    assert refused.param == "messages[0].content[1].image_url.url"


async def test_audio_is_what_it_says() -> None:
    assert (await refusal(audio(PNG))).param == "messages[0].content[0].input_audio.data"
    assert (await refusal(audio(WAV, "mp3"))).param == "messages[0].content[0].input_audio.data"


async def test_media_are_bounded_in_size_and_number() -> None:
    assert "over the limit" in (await refusal(image(data_url(PNG * 100)), max_bytes=1_000)).message
    assert "at most 1" in (await refusal(image(data_url(PNG)) * 2, max_parts=1)).message


async def test_an_engine_takes_no_files() -> None:
    assert (await refusal(file())).param == "messages[0].content[0]"
    media = Media(MediaSettings())
    await media.inline(file(), files=True)


async def test_a_url_of_a_listed_host_becomes_a_data_url(site: Site) -> None:
    (message,) = await inline(image(site.url("image.png")), **site.settings())
    assert message["content"][1]["image_url"]["url"] == data_url(PNG)
    assert not {"authorization", "cookie"} & {name.lower() for name in site.headers[0]}


async def test_redirects_are_followed_where_they_may_lead(site: Site) -> None:
    (message,) = await inline(image(site.url("moved")), **site.settings())
    assert message["content"][1]["image_url"]["url"] == data_url(PNG)


async def test_no_host_is_listed_by_default(site: Site) -> None:
    refused = await refusal(image(site.url("image.png")))
    assert "media.allowed_hosts" in refused.message
    assert not site.asked


@pytest.mark.parametrize("path", ["page", "nothing", "again", "away", "large"])
async def test_what_is_no_image_or_leads_elsewhere_is_refused(site: Site, path: str) -> None:
    refused = await refusal(image(site.url(path)), **site.settings(max_bytes=50_000))
    assert refused.param == "messages[0].content[1].image_url.url"
    assert "secret" not in refused.message
    assert len(site.asked) <= 4


async def test_a_slow_host_ends_with_the_time(site: Site) -> None:
    async with asyncio.timeout(5):
        await refusal(image(site.url("slow")), **site.settings(fetch_timeout_s=0.1))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"])
async def test_a_listed_name_that_leads_inside_is_refused(site: Site, host: str) -> None:
    allowed = [f"{host}:{site.port}"]
    await refusal(image(site.url("image.png", host)), allowed_hosts=allowed)
    assert not site.asked


async def test_a_name_is_resolved_once_and_that_address_is_connected_to(site: Site) -> None:
    media = Media(MediaSettings(**site.settings(allowed_hosts=["a.example:" + str(site.port)])))
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def resolve(host: str, port: int, family: int) -> list[dict[str, Any]]:
        found = answers.pop(0)
        return [
            {"hostname": host, "host": to, "port": port, "family": 2, "proto": 0, "flags": 0}
            for to in found
        ]

    media._outbound._resolver._resolver.resolve = resolve  # type: ignore[method-assign]
    await media.inline(image(site.url("image.png", "a.example")), files=False)
    assert len(answers) == 1
    with pytest.raises(InvalidRequest):
        await media.inline(image(site.url("image.png", "a.example")), files=False)
    assert len(site.asked) == 1
    await media.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1]/a.png",
        "http://[::ffff:127.0.0.1]/a.png",
        "http://[64:ff9b::a00:1]/a.png",
        "http://169.254.169.254/a.png",
        "http://images.example.com@127.0.0.1/a.png",
        "http://images.example.com\\@127.0.0.1/a.png",
        "http://images.example.com:22/a.png",
        "http://images.example.com.evil.example/a.png",
        "http://example.com/a.png",
        "file:///etc/passwd",
        "ftp://images.example.com/a.png",
        "//images.example.com/a.png",
        "http://[",
        "http://images.example.com:99999/a.png",
    ],
)
async def test_tricks(url: str) -> None:
    hosts = ["*.example.com", "169.254.169.254"]
    assert (await refusal(image(url), allowed_hosts=hosts)).status == 400


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("2606:4700::1111", True),
        ("::ffff:10.0.0.1", False),
        ("2002:a00:1::", False),
        ("64:ff9b::a00:1", False),
        ("fe80::1%eth0", False),
    ],
)
async def test_which_addresses_are_public(address: str, public: bool) -> None:
    resolver = Media(MediaSettings())._outbound._resolver
    if public:
        resolver.check_literal(address)
    else:
        with pytest.raises(OSError, match="not public"):
            resolver.check_literal(address)
