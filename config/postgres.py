"""PostgreSQL: pools under the app role, named queries from `.sql` files, numbered migrations."""

import hashlib
import importlib.resources
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from config.errors import ConfigError

Role = Literal["naru_app", "naru_auth", "naru_jobs"]
"""Whom a pool works as; `DATABASE_URL`'s user owns the tables and lends these.

`naru_app` sees the rows of one tenant at a time (`tenant_transaction`) and nothing of identity;
`naru_auth` sees identity and nothing else; `naru_jobs` is `naru_app` that also sees which files of
any tenant wait to be read.
"""

Connection = asyncpg.Connection | PoolConnectionProxy
"""One connection, opened alone or lent by a pool."""

Database = asyncpg.Pool | Connection
"""Where a query can run: alone on a pool, or inside its caller's transaction."""

UNREACHABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, until it is promoted
    asyncpg.TransactionRollbackError,  # a deadlock, or a standby that caught up
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the connection broke just as it was asked
    OSError,  # TimeoutError with it
)
"""What a query raises while the server is away, restarting, full or a standby: waiting helps."""

_MIGRATION_LOCK = 0x6E617275  # "naru"
_ACQUIRE_S = 10
_POOLER = "pgbouncer"
_TURN_S = 600
_TABLE_S = 30
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_RELEASE = re.compile(r"^-- release: (\d+)$", re.MULTILINE)

# Other databases of the server may make the same roles at the same moment. Who may not grant them
# can have got them from somebody who may. Before PostgreSQL 16 every member could SET ROLE.
_ROLES = """
DO $$ DECLARE name text; lent text := CASE
    WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END;
BEGIN
    FOREACH name IN ARRAY ARRAY['naru_app', 'naru_auth', 'naru_jobs'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
        IF NOT pg_has_role(name, lent) THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', name);
        END IF;
    END LOOP;
    IF NOT pg_has_role('naru_jobs', 'naru_app', 'USAGE') THEN
        GRANT naru_app TO naru_jobs;
    END IF;
END $$;
"""

_SETUP = """
GRANT USAGE ON SCHEMA public TO naru_app, naru_auth, naru_jobs;
CREATE TABLE IF NOT EXISTS schema_migrations (
    package    text NOT NULL,
    number     integer NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (package, number)
);
ALTER TABLE schema_migrations ADD COLUMN IF NOT EXISTS release integer NOT NULL DEFAULT 1;
"""


def load_queries(package: str, file: str) -> Mapping[str, str]:
    """Return the statements of a `.sql` file by name (`-- name: find_client` above each)."""
    text = (importlib.resources.files(package) / file).read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


class ConnectionSetup(Protocol):
    """Sets up each new connection of a pool, its type codecs for one."""

    async def __call__(self, con: asyncpg.Connection, /) -> None: ...  # noqa: D102


async def open_pool(
    url: str,
    *,
    size: int,
    role: Role = "naru_app",
    init: ConnectionSetup | None = None,
) -> asyncpg.Pool:
    """Return a pool whose connections work as `role`; `init` sets up each new connection.

    `pgbouncer://…` is a pooler in transaction mode, where a connection keeps nothing between two
    transactions. Whatever keeps it from connecting, a password that was changed for one, is a
    ConnectionError.

    Raises:
        ConfigError: The pooler's connections work as somebody else.
    """
    pooled = url.startswith(_POOLER)
    opened: asyncpg.Pool = await asyncpg.create_pool(
        connect=_connect,
        min_size=1,
        max_size=size,
        init=init,
        timeout=10,
        command_timeout=60,
        # Whoever sets something for longer than a transaction undoes it: a reset after each costs
        # as much as a statement, and reaches others' connections behind a pooler.
        reset=_leave,
        **session_of(url, role),
    )
    if pooled:
        await _check_role(opened, role)
    return opened


def session_of(url: str, role: Role, *, name: str = "naru") -> dict[str, Any]:
    """Return how asyncpg is told to work as `role`; `name` is what the server shows of it."""
    if url.startswith(_POOLER):
        # It passes no `role` on: it has a database for each, whose connections begin with it.
        return {
            "dsn": f"postgresql{url.removeprefix(_POOLER).rstrip('/')}/{role}",
            "server_settings": {"application_name": name},
        }
    # Compiling a short query takes longer than running it.
    settings = {"role": role, "application_name": name, "jit": "off"}
    return {"dsn": url, "server_settings": settings}


async def _check_role(pool: asyncpg.Pool, role: Role) -> None:
    try:
        found = await pool.fetchval("SELECT current_user")
    except asyncpg.InvalidSQLStatementNameError:
        found = "one that loses prepared statements (set max_prepared_statements)"
    if found != role:
        await pool.close()
        raise ConfigError(
            f"the pooler's database {role} works as {found}: see docs/scaling.md for its settings"
        )


async def _leave(_: Connection) -> None:
    """Return a connection as it is, once what is open of a transaction is rolled back."""


async def _connect(*where: Any, **options: Any) -> asyncpg.Connection:  # noqa: ANN401 - the pool's
    try:
        return await asyncpg.connect(*where, **options)
    except asyncpg.PostgresError as error:
        raise ConnectionError(str(error)) from error


@asynccontextmanager
async def tenant_transaction(
    db: Database, tenant: str, *, snapshot: bool = False
) -> AsyncIterator[Connection]:
    """Open a transaction that sees the rows of `tenant` alone (row-level security).

    With `snapshot` it only reads, and all its statements see the same moment. On a pool it takes a
    connection for as long; inside a transaction it is a savepoint, and the tenant stays set until
    the outer one ends.

    Raises:
        TimeoutError: No connection of the pool was free for 10 seconds.
    """
    async with AsyncExitStack() as stack:
        con = (
            await stack.enter_async_context(db.acquire(timeout=_ACQUIRE_S))
            if isinstance(db, asyncpg.Pool)
            else db
        )
        begun = (
            con.transaction(isolation="repeatable_read", readonly=True)
            if snapshot
            else con.transaction()
        )
        await stack.enter_async_context(begun)
        await con.execute("SELECT set_config('naru.tenant', $1, true)", tenant)
        yield con


@dataclass(frozen=True, slots=True)
class Migration:
    """A numbered file of a package.

    Attributes:
        name: `PACKAGE/FILE`, as it is told.
        release: The release that brought it; a line `-- release: N` begins the next one.
    """

    package: str
    number: int
    name: str
    release: int
    text: str

    @property
    def checksum(self) -> str:
        """Return what tells whether it was changed after it was applied."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Schema:
    """How a database stands to the migrations of this version.

    Attributes:
        pending: Those to apply.
        unknown: Those that a later version has applied, `PACKAGE/NUMBER`.
    """

    pending: Sequence[Migration]
    unknown: Sequence[str]


async def migrate(url: str, packages: Iterable[str]) -> list[str]:
    """Apply every package's new `migrations/NNNN_title.sql`; return the names of those applied.

    One transaction under an advisory lock: several processes may start at once, and a failed
    migration leaves nothing behind. A database of the next release is left as it is.

    Raises:
        ConfigError: An applied migration's text has changed since, or the database is of a release
            after the next one.
    """
    connection = await asyncpg.connect(url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_TURN_S}s'")
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
            # Whoever waits for a table makes all others wait: rather give up and come again.
            await connection.execute(f"SET LOCAL lock_timeout = '{_TABLE_S}s'")
            await connection.execute(_ROLES)
            await connection.execute(_SETUP)
            schema = await _compare(connection, packages)
            for each in schema.pending:
                await connection.execute(each.text)
                await connection.execute(
                    "INSERT INTO schema_migrations (package, number, checksum, release)"
                    " VALUES ($1, $2, $3, $4)",
                    *(each.package, each.number, each.checksum, each.release),
                )
    finally:
        await connection.close()
    return [each.name for each in schema.pending]


async def look_at_schema(url: str, packages: Iterable[str]) -> Schema:
    """Return what `migrate` would find; changes nothing and waits for nobody.

    Raises:
        ConfigError: As `migrate` does.
    """
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await _compare(connection, packages)
    finally:
        await connection.close()


def newest_release(packages: Iterable[str]) -> int:
    """Return the newest release of the schema that this version knows."""
    return max(each.release for package in packages for each in _migrations(package))


async def schema_release(connection: asyncpg.Connection) -> int | None:
    """Return the release that a database is of; None where nothing was applied."""
    applied = await _applied(connection)
    return max((release for _, release in applied.values()), default=None)


async def make_roles(url: str) -> None:
    """Make the roles that the service works under, where they are missing on the server."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(_ROLES)
    finally:
        await connection.close()


async def _compare(connection: asyncpg.Connection, packages: Iterable[str]) -> Schema:
    ours = [each for package in packages for each in _migrations(package)]
    known = {(each.package, each.number): each for each in ours}
    applied = await _applied(connection)
    for key, (checksum, _) in applied.items():
        if key in known and known[key].checksum != checksum:
            raise ConfigError(f"migration {known[key].name} was changed after it was applied")
    newest = max((each.release for each in ours), default=1)
    found = max((release for _, release in applied.values()), default=1)
    if found > newest + 1:
        raise ConfigError(
            f"the database is of release {found} of the schema, this version knows {newest} and "
            f"works up to {newest + 1}: start a newer version, or restore an older backup"
        )
    packages_here = {each.package for each in ours}
    later = sorted(key for key in applied if key not in known and key[0] in packages_here)
    pending = [each for each in ours if (each.package, each.number) not in applied]
    return Schema(pending, [f"{package}/{number:04}" for package, number in later])


async def _applied(connection: asyncpg.Connection) -> dict[tuple[str, int], tuple[str, int]]:
    """Return checksum and release of what was applied, by package and number."""
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return {}
    # Through JSON: the column is as young as the releases.
    rows = await connection.fetch(
        "SELECT package, number, checksum, (to_json(m)->>'release')::integer AS release"
        " FROM schema_migrations m"
    )
    return {(row["package"], row["number"]): (row["checksum"], row["release"] or 1) for row in rows}


def _migrations(package: str) -> Iterator[Migration]:
    """Yield a package's migrations in their order."""
    folder = importlib.resources.files(package) / "migrations"
    release = 1
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            text = file.read_text(encoding="utf-8")
            if found := _RELEASE.search(text):
                release = int(found[1])
            name = f"{package}/{file.name}"
            yield Migration(package, int(file.name[:4]), name, release, text)
