"""`naru migrate` by real processes, several at a time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from naru_process import run_naru


def test_several_at_once_apply_each_migration_once(empty_database: str, tmp_path: Path) -> None:
    def migrate(*arguments: str) -> list[str]:
        done = run_naru(tmp_path, {"DATABASE_URL": empty_database}, "migrate", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    looked = migrate("--dry-run")
    assert "to apply: gateway/0001_agents_sessions.sql" in looked
    with ThreadPoolExecutor(3) as threads:
        told = sorted((each.result() for each in [threads.submit(migrate) for _ in "123"]), key=len)
    assert told[:2] == [["nothing to apply"]] * 2
    assert told[2] == [line.replace("to apply", "applied") for line in looked]
    assert migrate("--dry-run") == ["nothing to apply"]
