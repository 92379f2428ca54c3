"""Migrations and pools against the real server."""

import asyncio
import re
import sys
from pathlib import Path

import asyncpg
import pytest

from config import postgres
from config.errors import ConfigError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "migrated" / "migrations"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    (folder / "0001_things.sql").write_text(
        "CREATE TABLE things (name text); GRANT SELECT ON things TO naru_app;"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "migrated", raising=False)
    return folder


async def test_migrations_apply_once_even_from_two_processes(
    empty_database: str, package: Path
) -> None:
    both = await asyncio.gather(*(postgres.migrate(empty_database, ["migrated"]) for _ in range(2)))
    assert sorted(both) == [[], ["migrated/0001_things.sql"]]


async def test_a_failed_migration_leaves_nothing(empty_database: str, package: Path) -> None:
    (package / "0002_broken.sql").write_text("CREATE TABLE half (a int); SELECT nonsense;")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await postgres.migrate(empty_database, ["migrated"])
    (package / "0002_broken.sql").unlink()
    assert await postgres.migrate(empty_database, ["migrated"]) == ["migrated/0001_things.sql"]


async def test_a_changed_migration_is_refused(empty_database: str, package: Path) -> None:
    await postgres.migrate(empty_database, ["migrated"])
    (package / "0001_things.sql").write_text("SELECT 1;")
    with pytest.raises(ConfigError, match="was changed after it was applied"):
        await postgres.migrate(empty_database, ["migrated"])


async def test_a_look_tells_what_is_to_be_applied_and_changes_nothing(
    empty_database: str, package: Path
) -> None:
    schema = await postgres.look_at_schema(empty_database, ["migrated"])
    assert [each.name for each in schema.pending] == ["migrated/0001_things.sql"]
    assert await postgres.migrate(empty_database, ["migrated"]) == ["migrated/0001_things.sql"]
    assert not (await postgres.look_at_schema(empty_database, ["migrated"])).pending


async def test_a_version_works_on_the_next_releases_database_and_on_no_later_one(
    empty_database: str, package: Path
) -> None:
    later = package / "0002_later.sql"
    later.write_text("-- release: 2\nCREATE TABLE later (name text);")
    assert len(await postgres.migrate(empty_database, ["migrated"])) == 2
    much_later = package / "0003_much_later.sql"
    much_later.write_text("-- release: 3\nCREATE TABLE much_later (name text);")
    same_release = package / "0004_same_release.sql"
    same_release.write_text("SELECT 1;")
    for file in (later, much_later, same_release):
        file.rename(file.with_suffix(".away"))

    assert await postgres.migrate(empty_database, ["migrated"]) == []
    schema = await postgres.look_at_schema(empty_database, ["migrated"])
    assert schema.unknown == ["migrated/0002"]

    for file in (later, much_later, same_release):
        file.with_suffix(".away").rename(file)
    assert len(await postgres.migrate(empty_database, ["migrated"])) == 2
    for file in (later, much_later, same_release):
        file.unlink()
    with pytest.raises(ConfigError, match=r"is of release 3 .* knows 1 and works up to 2"):
        await postgres.migrate(empty_database, ["migrated"])


async def test_a_database_of_before_the_releases_is_of_the_first_one(
    empty_database: str, package: Path
) -> None:
    await postgres.migrate(empty_database, ["migrated"])
    owner = await asyncpg.connect(empty_database)
    await owner.execute("ALTER TABLE schema_migrations DROP COLUMN release")
    assert not (await postgres.look_at_schema(empty_database, ["migrated"])).pending
    assert await postgres.migrate(empty_database, ["migrated"]) == []
    assert await owner.fetchval("SELECT release FROM schema_migrations") == 1
    await owner.close()


async def test_the_pool_works_under_the_app_role(empty_database: str, package: Path) -> None:
    await postgres.migrate(empty_database, ["migrated"])
    async with await postgres.open_pool(empty_database, size=2) as pool:
        assert await pool.fetchval("SELECT current_user::text") == "naru_app"
        assert await pool.fetch("SELECT * FROM things") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute("DROP TABLE things")


async def test_a_transaction_sees_the_tenant_it_names_and_leaves_nothing_behind(
    empty_database: str, package: Path
) -> None:
    await postgres.migrate(empty_database, ["migrated"])
    setting = "SELECT current_setting('naru.tenant', true)"
    async with await postgres.open_pool(empty_database, size=1) as pool:
        async with postgres.tenant_transaction(pool, "acme") as con:
            assert await con.fetchval(setting) == "acme"
            async with postgres.tenant_transaction(con, "acme") as inner:
                assert await inner.fetchval(setting) == "acme"
        async with pool.acquire() as con:
            assert not await con.fetchval(setting)


_ROOT = Path(__file__).parents[2]
_WITHIN = re.compile(r"\([^()]*\)")


@pytest.mark.parametrize(
    "file",
    [
        str(file.relative_to(_ROOT))
        for package in ("auth", "gateway", "rag")
        for file in sorted((_ROOT / package).rglob("*.sql"))
        if file.parent.name != "migrations"
    ],
)
def test_no_statement_tells_rows_without_a_column(file: str) -> None:
    """asyncpg 0.32 writes eight bytes behind such a record when it is gone (`record_dealloc`)."""
    *package, found = file.split("/")
    for name, statement in postgres.load_queries(".".join(package), found).items():
        outer = re.sub(r"--.*|'[^']*'", "", statement)
        while _WITHIN.search(outer):
            outer = _WITHIN.sub("", outer)
        assert not re.search(r"\bSELECT\s+(FROM|WHERE)\b|\bSELECT\s*;?\s*$", outer), name
