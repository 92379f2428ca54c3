"""`naru doctor`: what was found, what is embedded, what is missing. Starts and changes nothing."""

import asyncio
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from config import embedded
from config.bucket_client import BUCKET_FAULTS, bucket_fault, check_bucket, open_bucket
from config.errors import ConfigError
from config.files import FileSettings
from config.load import DEFAULT_FILE, FILE_VARIABLE
from config.postgres import look_at_schema
from config.prices import price_of
from config.settings import EmbeddingSettings, EngineSettings, Settings
from gateway import preflight, probes
from gateway.engines.check import check_engine
from gateway.generation.replicas import open_engines
from gateway.supervisor import PACKAGES
from rag.local_model import PACKAGED

_BUCKET_S = 10.0
_CLOCK_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        ok: False where something must be done before `naru serve` can work.
    """

    subject: str
    text: str
    ok: bool = True


async def examine(settings: Settings, config_file: Path | None) -> list[Finding]:
    """Look at everything `naru serve` needs with these settings."""
    return [
        Finding("Python", platform.python_version()),
        _package("torch", needed=settings.embedding.url is None),
        _settings_file(config_file),
        _data_dir(settings.data_dir),
        *_journal(settings),
        *await _database(settings),
        await _redis(settings),
        *await _bucket(settings.files),
        _embedding(settings.embedding),
        await asyncio.to_thread(_address, settings),
        *await asyncio.gather(*(_engine(*item) for item in settings.engines.items())),
        _providers(settings),
        *_prices(settings),
    ]


async def _engine(name: str, settings: EngineSettings) -> Finding:
    subject = f"engine {name}"
    if settings.urls:
        where = f"elsewhere: {', '.join(settings.urls)}"
        async with open_engines({name: settings}, {}, b"") as opened:
            up = opened[name].up
        return Finding(subject, where if up else f"{where}: none answers", ok=up)
    try:
        return Finding(subject, f"{settings.model}, {await check_engine(name, settings)}")
    except ConfigError as error:
        return Finding(subject, str(error), ok=False)


def _providers(settings: Settings) -> Finding:
    none = "none" if settings.engines else "none: answers are quotes"
    return Finding("providers", ", ".join(sorted(settings.providers)) or none)


def _prices(settings: Settings) -> Iterator[Finding]:
    """Tell what the hosted targets of the aliases cost."""
    rungs = {rung.target for ladder in settings.models.values() for rung in ladder.targets}
    for target in sorted(rungs):
        provider, _, model = target.partition("/")
        if provider in settings.providers:
            price = price_of(settings.providers[provider].kind, model)
            cost = f"${price.input:g} in, ${price.output:g} out" if price else "not known"
            yield Finding("price", f"{target}: {cost} (a million tokens)")


def _package(name: str, *, needed: bool) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "missing: run `make run`", ok=not needed)


def _settings_file(named: Path | None) -> Finding:
    path = named or Path(os.environ.get(FILE_VARIABLE) or DEFAULT_FILE)
    return Finding("settings", str(path) if path.exists() else "defaults and environment")


def _data_dir(path: Path) -> Finding:
    path = path.resolve()
    existing = next(folder for folder in (path, *path.parents) if os.access(folder, os.F_OK))
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        return Finding("data folder", f"{path} can't be written: set NARU__DATA_DIR", ok=False)
    return Finding(
        "data folder", str(path) + ("" if path == existing else " (made at first start)")
    )


def _journal(settings: Settings) -> Iterator[Finding]:
    """Tell whether the disk holds what may have to wait for PostgreSQL."""
    if settings.ledger.journal is None:
        return
    path = (settings.data_dir / settings.ledger.journal).resolve()
    existing = next(folder for folder in (path, *path.parents) if os.access(folder, os.F_OK))
    free = shutil.disk_usage(existing).free
    most = settings.ledger.max_journal_bytes * settings.server.workers
    text = f"{path}, {free / 10**9:.1f} GB free, takes up to {most / 10**9:.1f}"
    yield Finding("journal", text, ok=free > most)


async def _database(settings: Settings) -> list[Finding]:
    """Tell of PostgreSQL and, where it answers, of what is in it."""
    server = await _postgres(settings)
    url = (
        settings.database.url.get_secret_value()
        if settings.database.url
        else embedded.postgres_url(embedded.runtime_path(settings.data_dir))
    )
    if not server.ok or "not running" in server.text:
        return [server]
    try:
        return [server, await _schema(url), await _clock(url)]
    except probes.FAILURES as error:
        return [server, Finding("schema", f"can't be read: {error}", ok=False)]


async def _schema(url: str) -> Finding:
    try:
        schema = await look_at_schema(url, PACKAGES)
    except ConfigError as error:
        return Finding("schema", str(error), ok=False)
    if schema.unknown:
        return Finding("schema", f"of a later version: {', '.join(schema.unknown)}")
    if schema.pending:
        return Finding("schema", f"{len(schema.pending)} migration(s) to apply at the next start")
    return Finding("schema", "up to date")


async def _clock(url: str) -> Finding:
    offset = await probes.clock_offset_s(url)
    text = f"{offset:+.2f} s against PostgreSQL"
    return Finding("clock", text, ok=abs(offset) < _CLOCK_S)


async def _postgres(settings: Settings) -> Finding:
    url = settings.database.url
    if url is not None:
        return await _ask("PostgreSQL", probes.postgres_version, url.get_secret_value())
    try:
        binary = embedded.postgres_bin()
    except ConfigError as error:
        return Finding("PostgreSQL", str(error), ok=False)
    running = await _ask(
        "PostgreSQL",
        probes.postgres_version,
        embedded.postgres_url(embedded.runtime_path(settings.data_dir)),
    )
    if running.ok:
        return Finding("PostgreSQL", f"{running.text}, embedded, running")
    return Finding("PostgreSQL", f"{embedded.POSTGRES_MAJOR}, embedded, not running ({binary})")


async def _redis(settings: Settings) -> Finding:
    url = settings.redis.url
    if url is not None:
        return await _ask("Redis", probes.redis_version, url.get_secret_value())
    try:
        program = embedded.redis_server_path()
    except ConfigError as error:
        return Finding("Redis", str(error), ok=False)
    runtime = embedded.runtime_path(settings.data_dir)
    running = await _ask("Redis", probes.redis_version, embedded.redis_url(runtime))
    origin = "from the PATH" if shutil.which("redis-server") else "embedded"
    if running.ok:
        return Finding("Redis", f"{running.text}, {origin}, running")
    return Finding("Redis", f"{origin}, not running ({program})")


async def _bucket(settings: FileSettings) -> list[Finding]:
    if settings.bucket is None:
        return []
    where = f"{settings.bucket.bucket} at {settings.bucket.endpoint or 'Amazon S3'}"
    into = "new files go there" if settings.storage == "bucket" else "new files go to PostgreSQL"
    try:
        async with asyncio.timeout(_BUCKET_S):
            await check_bucket(open_bucket(settings.bucket))
    except TimeoutError:
        return [Finding("bucket", f"{where} gives no answer", ok=False)]
    except BUCKET_FAULTS as error:
        return [Finding("bucket", f"{where} can't be used: {bucket_fault(error)}", ok=False)]
    return [Finding("bucket", f"{where}, {into}")]


async def _ask(subject: str, ask: Callable[[str], Awaitable[str]], url: str) -> Finding:
    try:
        version = await ask(url)
    except probes.FAILURES as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        return Finding(subject, f"{probes.place(url)} does not answer: {reason}", ok=False)
    return Finding(subject, version, ok="missing" not in version)


def _embedding(settings: EmbeddingSettings) -> Finding:
    name, languages = settings.model, ", ".join(settings.languages)
    if settings.url:
        return Finding("embedding", f"{name} at {settings.url} ({languages})")
    if package := PACKAGED.get(name):
        found = importlib.util.find_spec(package) is not None
        text = (
            f"{name}, from a wheel ({languages})" if found else f"the package {package} is missing"
        )
        return Finding("embedding", text, ok=found)
    where = "a folder" if Path(name).is_dir() else "downloaded when missing"
    return Finding("embedding", f"{name}, {where} ({languages})")


def _address(settings: Settings) -> Finding:
    server = settings.server
    try:
        preflight.bind(server).close()
    except ConfigError as error:
        if probes.ask_ready(server) is not None:
            return Finding("address", f"{server.url}, a Naru serves there")
        return Finding("address", str(error), ok=False)
    return Finding("address", f"{server.url}, free")
