"""`naru backup` and `naru restore`: the database and the key that it is sealed with, in one file.

A tar archive: `manifest.json`, `secret.key` unless the key is in the settings or left out, and
`database.dump`, which `pg_restore` reads as well.
"""

import asyncio
import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg

from auth import SecretBox
from config import embedded
from config.errors import ConfigError
from config.postgres import make_roles, migrate, newest_release, schema_release
from config.settings import Settings
from gateway.stores import open_database
from gateway.supervisor import PACKAGES

_FORMAT = 1
_MANIFEST, _KEY, _DUMP = "manifest.json", "secret.key", "database.dump"
_MAJOR = re.compile(r" (\d+)")


def back_up(
    settings: Settings, file: Path, *, with_key: bool = True, force: bool = False
) -> list[str]:
    """Write a backup of one moment, whether the service runs or not; return what to tell.

    Raises:
        ConfigError: It can't be made, and no file is left; or one is there, without `force`.
    """
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already: name another file, or say --force")
    key = _key_file(settings)
    if key and not key.exists():
        raise ConfigError(f"there is no {key}: a service was never started with these settings")
    packed = key if with_key else None
    with _beside(file) as folder, open_database(settings) as url:
        about = asyncio.run(_look(url))
        program = _program("pg_dump", about.pop("major"))
        manifest = {
            "format": _FORMAT,
            "naru": importlib.metadata.version("naru-gateway"),
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "key": _mark(settings),
            "pg_dump": _major(program),
            **about,
        }
        _call(program, url, "--format=custom", f"--file={folder / _DUMP}")
        draft = folder / "backup"
        _pack(draft, manifest, packed, folder / _DUMP)
        draft.replace(file)
    told = [f"{file}: {file.stat().st_size:,} bytes, release {about['release']} of the schema"]
    if packed:
        told.append("it holds the secret key: whoever has the file can read all of it")
    else:
        told.append(f"it does not hold the secret key; keep {_where(settings)} apart from it")
    if settings.files.bucket:
        told.append("what is in the bucket is not in it")
    return told


def restore(settings: Settings, file: Path) -> list[str]:
    """Fill an empty database, and put the key where the settings look for it.

    Raises:
        ConfigError: The file, the key or the database does not fit; nothing was changed.
    """
    with tempfile.TemporaryDirectory() as folder, _open(file) as archive:
        manifest = _manifest(archive, file)
        key = _packed_key(archive)
        _check_key(settings, manifest["key"], key)
        archive.extract(_DUMP, folder, filter="data")
        with open_database(settings, alone=True) as url:
            major = asyncio.run(_check_empty(url))
            program = _program("pg_restore", max(major, manifest["pg_dump"]))
            asyncio.run(make_roles(url))
            options = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-comments")
            _call(program, url, *options, f"{folder}/{_DUMP}")
            applied = asyncio.run(migrate(url, PACKAGES))
    told = [f"restored what {manifest['naru']} backed up at {manifest['made']}"]
    if applied:
        told.append(f"applied {len(applied)} migration(s)")
    if key and (path := _key_file(settings)) and not path.exists():
        _write_key(path, key)
        told.append(f"wrote the secret key to {path}")
    return told


async def _look(url: str) -> dict[str, Any]:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        release = await schema_release(connection)
        if release is None:
            raise ConfigError("the database is empty: there is nothing to back up")
        server = await connection.fetchval("SHOW server_version")
        return {"release": release, "postgres": server, "major": _version(connection)}
    finally:
        await connection.close()


async def _check_empty(url: str) -> int:
    """Return the server's major version.

    Raises:
        ConfigError: The database has tables.
    """
    connection = await asyncpg.connect(url, timeout=10)
    try:
        name = await connection.fetchval(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' LIMIT 1"
        )
        if name is not None:
            raise ConfigError(f"the database is not empty, it has a table `{name}`: name a new one")
        return _version(connection)
    finally:
        await connection.close()


def _version(connection: asyncpg.Connection) -> int:
    return int(connection.get_server_version().major)


def _program(name: str, major: int) -> str:
    """Return the oldest program at hand that is not older than `major`: newer ones say more.

    Raises:
        ConfigError: There is none.
    """
    found = [path for path in [shutil.which(name)] if path]
    with suppress(ConfigError):
        found.append(str(embedded.postgres_bin() / name))
    fit = sorted((_major(path), path) for path in found if _major(path) >= major)
    if not fit:
        raise ConfigError(f"{name} of PostgreSQL {major} or later is needed on the PATH")
    return fit[0][1]


def _major(program: str) -> int:
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    found = _MAJOR.search(told.stdout)
    return int(found[1]) if found else 0


def _call(program: str, url: str, *arguments: str) -> None:
    """Run a program of PostgreSQL's; the password is in no argument, which others could read."""
    parts = urllib.parse.urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    bare = parts._replace(netloc=f"{name}@{host}" if name else host).geturl()
    secret = {"PGPASSWORD": urllib.parse.unquote(password)} if password else {}
    done = subprocess.run(
        [program, f"--dbname={bare}", *arguments],
        env={**os.environ, **secret},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[:3] or ["no message"]
        raise ConfigError(f"{Path(program).name} failed: {' '.join(last)}")


def _key_file(settings: Settings) -> Path | None:
    """Return where the secret key is, unless it stands in the settings."""
    if settings.auth.secret_key is not None:
        return None
    return settings.auth.secret_path(settings.data_dir)


def _where(settings: Settings) -> str:
    return str(_key_file(settings) or "auth.secret_key")


def _mark(settings: Settings) -> str:
    """Return what tells one secret key from another, and nothing of it."""
    box = SecretBox.load(settings.auth, settings.data_dir)
    return box.pseudonym("naru backup").hex()[:16]


def _check_key(settings: Settings, mark: str, packed: str | None) -> None:
    """Do nothing if the key that the data was sealed with is, or will be, where it is looked for.

    Raises:
        ConfigError: Another one is there, or none.
    """
    path = _key_file(settings)
    if path is not None and not path.exists():
        if packed is None:
            raise ConfigError(f"the backup does not hold its secret key: put it at {path} first")
        return
    if _mark(settings) != mark:
        raise ConfigError(
            f"the backup was sealed with another secret key than {_where(settings)} holds"
        )


def _write_key(path: Path, key: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        target.write(key)


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """Yield a private folder on the disk where the file will be."""
    try:
        with tempfile.TemporaryDirectory(prefix=".naru-backup-", dir=file.parent) as folder:
            yield Path(folder)
    except OSError as error:
        raise ConfigError(f"can't write {file}: {error.strerror}") from None


def _pack(target: Path, manifest: dict[str, Any], key: Path | None, dump: Path) -> None:
    target.touch(mode=0o600)
    with tarfile.open(target, "w") as archive:
        _add(archive, _MANIFEST, json.dumps(manifest, indent=1).encode())
        if key:
            _add(archive, _KEY, key.read_bytes())
        archive.add(dump, _DUMP)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(content))


@contextmanager
def _open(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        archive = tarfile.open(file)  # noqa: SIM115 - closed below; errors of its use are others
    except (OSError, tarfile.TarError) as error:
        raise ConfigError(f"{file} can't be read as a backup: {error}") from None
    with archive:
        yield archive


def _manifest(archive: tarfile.TarFile, file: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(_read(archive, _MANIFEST))
        fits = manifest["format"] == _FORMAT
    except (KeyError, ValueError, tarfile.TarError):
        raise ConfigError(f"{file} is not a backup that `naru backup` made") from None
    newest = newest_release(PACKAGES)
    if not fits or manifest["release"] > newest + 1:
        raise ConfigError(f"{file} was made by {manifest['naru']}, which is too new for this one")
    return manifest


def _packed_key(archive: tarfile.TarFile) -> str | None:
    with suppress(KeyError):
        return _read(archive, _KEY).decode()
    return None


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    entry = archive.extractfile(name)
    if entry is None:
        raise KeyError(name)
    return entry.read()
