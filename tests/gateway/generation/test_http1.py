"""The client of upstreams: whatever a server sends, an answer is whole, or an error, in time."""

import asyncio
import contextlib
import datetime as dt
import gzip
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.generation.http1 import HttpClient, Unreachable, Url, header_lines
from gateway.generation.http1_answer import Broken, NotHttp

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
GO_ON = b"HTTP/1.1 100 Continue\r\nx-early: 1\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nhello"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _request(reader: asyncio.StreamReader) -> bytes:
    """Return one request's head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


class Server:
    """A server that does as it is told; knows its connections."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.url = Url.parse("http://127.0.0.1:1/")
        self.connections = 0
        self.left = asyncio.Event()
        self.asked = list[bytes]()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.left.set()


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[Server]:
    server = Server(serve)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    server.url = Url.parse(f"http://127.0.0.1:{port}/v1/x?a=b")
    async with asyncio.timeout(60):
        yield server
    listening.close()


def telling(*answers: bytes, then_close: bool = False) -> Serve:
    """Serve one answer per request, again and again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            for answer in answers:
                await _request(reader)
                writer.write(answer)
                await writer.drain()
                if then_close:
                    return

    return serve


async def ask(client: HttpClient, url: Url, **more: float) -> tuple[int, bytes]:
    with await client.post(url, b"x: y\r\n", b"{}", connect_timeout_s=10, **more) as answer:
        return answer.status, await answer.read(100_000_000)


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, GO_ON + LENGTH, GO_ON + GO_ON + CHUNKED])
async def test_a_connection_serves_again(answer: bytes) -> None:
    async with serving(telling(answer)) as server, HttpClient() as client:
        for _ in range(3):
            assert await ask(client, server.url) == (200, b"hello")
        assert server.connections == 1


async def test_what_is_sent() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.asked.append(await _request(reader))
        writer.write(LENGTH)

    async with serving(serve) as server, HttpClient() as client:
        await ask(client, server.url)
        host = f"{server.url.origin.host}:{server.url.origin.port}".encode()
    head, _, body = server.asked[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/x?a=b HTTP/1.1"
    assert set(lines[1:]) >= {b"host: " + host, b"x: y", b"content-length: 2"}
    assert body == b"{}"


async def test_a_password_in_the_url_is_sent_as_basic_credentials() -> None:
    head = Url.parse("https://me:p%40ss@host.example/v1").head
    assert b"host: host.example\r\n" in head
    assert b"authorization: Basic bWU6cEBzcw==\r\n" in head


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\0b"])
async def test_a_header_is_one_line(value: str) -> None:
    async with serving(telling(LENGTH)) as server, HttpClient() as client:
        with pytest.raises(ValueError, match="end of a line"):
            await client.post(server.url, header_lines({"x": value}), b"", connect_timeout_s=10)
        assert server.connections == 0


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async with serving(telling(ENDLESS, then_close=True)) as server, HttpClient() as client:
        assert await ask(client, server.url) == (200, b"hello")
        assert await ask(client, server.url) == (200, b"hello")
        assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Broken),
        (b"HTTP/1.1 200 OK\r\ncontent-le", Broken),
        (LENGTH[:-1], Broken),
        (CHUNKED[:-2], Broken),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NotHttp),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", NotHttp),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx", NotHttp),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", NotHttp),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 400_000, NotHttp),
        (GO_ON * 10_000, NotHttp),
    ],
)
async def test_what_is_no_whole_answer_is_an_error(answer: bytes, error: type[Exception]) -> None:
    async with serving(telling(answer, then_close=True)) as server, HttpClient() as client:
        with pytest.raises(error):
            await ask(client, server.url)


async def test_what_nobody_asked_for_is_no_answer_to_the_next() -> None:
    other = LENGTH.replace(b"hello", b"wrong")
    async with serving(telling(LENGTH + other)) as server, HttpClient() as client:
        for _ in range(3):
            assert await ask(client, server.url) == (200, b"hello")
        assert server.connections == 3


async def test_who_is_asked_to_close_is_not_asked_again() -> None:
    closing = LENGTH.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    async with serving(telling(closing)) as server, HttpClient() as client:
        for _ in range(2):
            assert await ask(client, server.url) == (200, b"hello")
        assert server.connections == 2


async def test_an_idle_connection_is_closed_in_time() -> None:
    async with serving(telling(LENGTH)) as server, HttpClient(keep_s=0.01) as client:
        await ask(client, server.url)
        await server.left.wait()
        assert await ask(client, server.url) == (200, b"hello")


async def test_a_request_may_last_longer_than_an_idle_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for wait_s in (0, 0.3):
            await _request(reader)
            await asyncio.sleep(wait_s)
            writer.write(LENGTH)
        await reader.read()

    async with serving(serve) as server, HttpClient(keep_s=0.1) as client:
        for _ in range(2):
            assert await ask(client, server.url, total_timeout_s=60) == (200, b"hello")
        assert server.connections == 1
        await server.left.wait()


async def test_each_request_has_a_total_time_of_its_own() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(LENGTH)
        await _request(reader)
        await reader.read()

    async with serving(serve) as server, HttpClient() as client:
        await ask(client, server.url, total_timeout_s=0.2)
        await asyncio.sleep(0.3)
        with pytest.raises(TimeoutError):
            await ask(client, server.url, total_timeout_s=0.2)
        assert server.connections == 1


async def test_the_total_time_counts_until_the_end() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(LENGTH[:-1])
        await reader.read()

    async with serving(serve) as server, HttpClient() as client:
        with pytest.raises(TimeoutError):
            await ask(client, server.url, total_timeout_s=0.2)
        await server.left.wait()


async def test_nobody_there() -> None:
    async with HttpClient() as client:
        for url in ("http://127.0.0.1:9/", "http://nowhere.invalid/"):
            with pytest.raises(Unreachable):
                await client.post(Url.parse(url), b"", b"", connect_timeout_s=30)


async def test_who_is_cancelled_closes_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        asked.set()
        await reader.read()

    asked = asyncio.Event()
    async with serving(serve) as server, HttpClient() as client:
        asking = asyncio.create_task(ask(client, server.url))
        await asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await server.left.wait()


async def test_who_stops_reading_closes_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(CHUNKED[:-5])
        await reader.read()

    async with serving(serve) as server, HttpClient() as client:
        with await client.post(server.url, b"", b"", connect_timeout_s=10) as answer:
            assert (await answer.next()).startswith(b"he")
        await server.left.wait()


async def test_a_server_that_floods_waits_for_its_reader() -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await _request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1_000):
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with serving(serve) as server, HttpClient() as client:
        with await client.post(server.url, b"", b"", connect_timeout_s=10) as answer:
            before = -1
            while sent > before:
                before = sent
                await asyncio.sleep(0.2)
            assert answer.waiting_bytes < 1_000_000
            assert len(await answer.read(70_000_000)) == 65_536_000


async def test_a_body_that_is_too_long_is_not_read_to_its_end() -> None:
    async with (
        serving(telling(ENDLESS * 10_000, then_close=True)) as server,
        HttpClient() as client,
    ):
        with (
            pytest.raises(ValueError, match="too long"),
            await client.post(server.url, b"", b"", connect_timeout_s=10) as answer,
        ):
            await answer.read(1_000)


async def test_what_is_compressed_though_it_must_not_be_is_read_in_small_parts() -> None:
    packed = gzip.compress(b"x" * 10_000_000)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    async with serving(telling(head + packed)) as server, HttpClient() as client:
        with await client.post(server.url, b"", b"", connect_timeout_s=10) as answer:
            assert len(await answer.next()) <= 65_536
        assert await ask(client, server.url) == (200, b"x" * 10_000_000)


async def test_what_only_says_that_it_is_compressed() -> None:
    answer = LENGTH.replace(b"OK\r\n", b"OK\r\ncontent-encoding: gzip\r\n")
    async with serving(telling(answer)) as server, HttpClient() as client:
        with pytest.raises(ValueError, match="header"):
            await ask(client, server.url)


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    server, path = Server(telling(LENGTH)), str(tmp_path / "s")
    async with (
        await asyncio.start_unix_server(server.handle, path),
        HttpClient(unix_socket=path) as client,
    ):
        assert await ask(client, Url.parse("http://engine/v1")) == (200, b"hello")


def _certificate(folder: Path, host: str) -> ssl.SSLContext:
    """Return what a server at `host` is; `folder` gets its certificate, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    text = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "cert.pem").write_bytes(text)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "key.pem").write_bytes(secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.parametrize(
    ("host", "trusts", "answers"),
    [("localhost", True, True), ("localhost", False, False), ("other.example", True, False)],
)
async def test_over_tls(tmp_path: Path, host: str, trusts: bool, answers: bool) -> None:
    server, secured = Server(telling(LENGTH)), _certificate(tmp_path, host)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=secured)
    url = Url.parse(f"https://localhost:{listening.sockets[0].getsockname()[1]}/v1")
    trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem") if trusts else None
    async with HttpClient(trusted=trusted) as client, asyncio.timeout(60):
        if answers:
            assert await ask(client, url) == (200, b"hello")
            assert await ask(client, url) == (200, b"hello")
            assert server.connections == 1
        else:
            with pytest.raises(Unreachable):
                await ask(client, url)
    listening.close()


PIECES = st.lists(
    st.sampled_from(
        [
            *(LENGTH, CHUNKED, GO_ON, ENDLESS, b"\r\n", b"\n", b"\0", b"HTTP/1.1 ", b"200 OK"),
            *(
                b"0\r\n\r\n",
                b"ffffffffffffffff\r\n",
                b"content-length: 3\r\n",
                b"hello",
                b"1;x\r\n",
            ),
        ]
    )
    | st.binary(max_size=30),
    max_size=6,
)


@given(PIECES, st.lists(st.integers(0, 400), max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_an_answer_or_an_error(pieces: list[bytes], cuts: list[int]) -> None:
    asyncio.run(_hear(b"".join(pieces), cuts))


async def _hear(wire: bytes, cuts: list[int]) -> None:
    """Send the bytes in pieces; whatever comes of it does so at once, and leaves nothing behind."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        edges = [0, *sorted(cuts), len(wire)]
        for start, end in itertools.pairwise(edges):
            writer.write(wire[start:end])
            await asyncio.sleep(0)

    async with serving(serve) as server:
        async with HttpClient() as client:
            with contextlib.suppress(Broken, NotHttp):
                status, _ = await ask(client, server.url)
                assert 200 <= status < 1000
        while client._open:
            await asyncio.sleep(0)
