"""TLS to the stores, by what their URLs say (docs/security.md)."""

import ssl
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import redis.asyncio
from tls_support import make_certificate, relay_tls

from config.postgres import migrate, open_pool
from gateway import probes
from gateway.govern.limits_script import open_counting


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path)


def socket_of(database: str) -> Path:
    return Path(parse_qs(urlsplit(database).query)["host"][0]) / ".s.PGSQL.5432"


def url_of(database: str, port: int, ca: Path) -> str:
    parts = urlsplit(database)
    return (
        f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"
        f"?sslmode=verify-full&sslrootcert={ca}"
    )


async def test_postgresql(empty_database: str, certificate: tuple[Path, Path]) -> None:
    with relay_tls(socket_of(empty_database), certificate, postgres=True) as port:
        url = url_of(empty_database, port, certificate[0])
        assert (await probes.postgres_version(url)).startswith("18")
        await migrate(url, [])
        async with await open_pool(url, size=1) as pool:
            assert await pool.fetchval("SELECT current_user") == "naru_app"


async def test_a_postgresql_that_somebody_else_vouches_for_is_refused(
    empty_database: str, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other, _ = make_certificate(tmp_path / "other")
    with (
        relay_tls(socket_of(empty_database), certificate, postgres=True) as port,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        await open_pool(url_of(empty_database, port, other), size=1)


async def test_a_postgresql_without_tls_is_refused(
    empty_database: str, certificate: tuple[Path, Path]
) -> None:
    with (
        relay_tls(socket_of(empty_database), None, postgres=True) as port,
        pytest.raises(ConnectionError, match="rejected SSL"),
    ):
        await open_pool(url_of(empty_database, port, certificate[0]), size=1)


async def test_redis(redis_url: str, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other, _ = make_certificate(tmp_path / "other")
    socket = Path(redis_url.removeprefix("unix://"))
    with relay_tls(socket, certificate) as port:
        url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate[0]}"
        assert await probes.redis_version(url)
        counting = open_counting(url)
        assert await counting.ping()
        await counting.aclose()
        async with redis.asyncio.from_url(
            f"rediss://127.0.0.1:{port}?ssl_ca_certs={other}"
        ) as client:
            with pytest.raises(redis.exceptions.ConnectionError, match="certificate"):
                await client.ping()
