"""The doctor's findings."""

import socket
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from bucket_support import play_bucket_server
from support import free_port

from config.postgres import migrate
from config.settings import Settings
from gateway import probes
from gateway.doctor import Finding, examine
from gateway.supervisor import PACKAGES


async def look(**values: Any) -> dict[str, Finding]:
    findings = await examine(Settings.model_validate(values), None)
    return {finding.subject: finding for finding in findings}


async def test_before_the_first_start_nothing_is_missing_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = await look(data_dir=tmp_path / "data", server={"port": free_port()})
    assert all(finding.ok for finding in found.values())
    assert found["PostgreSQL"].text.startswith("18, embedded, not running")
    assert "not running" in found["Redis"].text
    assert found["embedding"].text == "all-MiniLM-L6-v2, from a wheel (en)"
    assert found["settings"].text == "defaults and environment"
    assert found["providers"].text == "none: answers are quotes"
    assert not (tmp_path / "data").exists()


async def test_stores_that_answer_are_named_with_their_versions(
    postgres_server: str, redis_url: str, data_dir: Path
) -> None:
    outside = await look(database={"url": postgres_server}, redis={"url": redis_url})
    assert outside["PostgreSQL"].text.startswith("18.")
    assert "pgvector 0." in outside["PostgreSQL"].text
    inside = await look(data_dir=data_dir)
    assert inside["PostgreSQL"].text.endswith("embedded, running")
    assert inside["Redis"].text.endswith("running")


async def test_the_schema_the_clock_and_the_room_for_the_journal_are_told(
    empty_database: str, tmp_path: Path
) -> None:
    database = {"url": empty_database}
    found = await look(data_dir=tmp_path, database=database)
    assert found["schema"].text.endswith("migration(s) to apply at the next start")
    assert found["clock"].ok
    assert " GB free, takes up to 1.0" in found["journal"].text
    await migrate(empty_database, PACKAGES)
    owner = await asyncpg.connect(empty_database)
    later = "INSERT INTO schema_migrations VALUES ('gateway', 9999, '', now(), $1)"
    for release, ok in ((2, True), (3, False)):
        await owner.execute(later, release)
        found = await look(data_dir=tmp_path, database=database)
        assert found["schema"].ok is ok
        await owner.execute("DELETE FROM schema_migrations WHERE number = 9999")
    await owner.close()
    full = {"max_journal_bytes": 10**18}
    assert not (await look(data_dir=tmp_path, ledger=full))["journal"].ok


async def test_an_engine_elsewhere_that_does_not_answer_is_missing() -> None:
    found = await look(engines={"far": {"urls": ["http://127.0.0.1:9/v1"]}})
    assert found["engine far"] == Finding(
        "engine far", "elsewhere: http://127.0.0.1:9/v1: none answers", ok=False
    )


async def test_stores_that_do_not_answer_are_missing_and_no_password_is_shown() -> None:
    found = await look(
        database={"url": "postgresql://me:hunter2@127.0.0.1:1/naru"},
        redis={"url": "redis://:hunter2@127.0.0.1:1"},
    )
    assert not found["PostgreSQL"].ok
    assert "127.0.0.1:1 does not answer" in found["PostgreSQL"].text
    assert not found["Redis"].ok
    assert "127.0.0.1:1 does not answer" in found["Redis"].text
    assert "hunter2" not in str(found)


async def test_a_port_of_another_program_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_TRY_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as other:
        found = await look(server={"port": other.getsockname()[1]})
    assert not found["address"].ok


async def test_a_data_folder_that_cannot_be_made_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = await look(data_dir=tmp_path / "file" / "data")
    assert not found["data folder"].ok


@pytest.mark.parametrize(
    ("embedding", "expected"),
    [
        ({"model": "BAAI/bge-m3"}, "BAAI/bge-m3, downloaded when missing (en)"),
        ({"model": "/"}, "/, a folder (en)"),
        ({"url": "http://127.0.0.1:1/v1"}, "at http://127.0.0.1:1/v1"),
    ],
)
async def test_the_embedding_model_is_told(embedding: dict[str, str], expected: str) -> None:
    assert expected in (await look(embedding=embedding))["embedding"].text


async def test_an_engine_is_told_with_its_version_or_what_is_wrong() -> None:
    found = await look(
        engines={
            "good": {"model": "Qwen/Qwen3-4B", "args": {"max-model-len": 4096}},
            "bad": {"model": "m", "python": "/nowhere/python"},
            "far": {"urls": ["https://gpu.example/v1"]},
        }
    )
    assert found["engine good"].text.startswith("Qwen/Qwen3-4B, vLLM 0.32.0 on ")
    assert not found["engine bad"].ok
    assert "engines.bad.python: can't run /nowhere/python" in found["engine bad"].text
    assert found["engine far"].text == "elsewhere: https://gpu.example/v1: none answers"
    assert found["providers"].text == "none"


async def test_what_hosted_targets_cost_is_told(tmp_path: Path) -> None:
    values = {
        "data_dir": tmp_path / "data",
        "server": {"port": free_port()},
        "providers": {"openai": {"kind": "openai"}},
        "models": {"default": ["openai/gpt-4o-mini", "openai/gpt-x", "extractive"]},
    }
    findings = await examine(Settings.model_validate(values), None)
    assert [finding.text for finding in findings if finding.subject == "price"] == [
        "openai/gpt-4o-mini: $0.15 in, $0.60 out (a million tokens)",
        "openai/gpt-x: not known (a million tokens)",
    ]


async def test_the_bucket_of_files_is_asked_and_its_secret_is_not_shown() -> None:
    assert "bucket" not in await look()
    with play_bucket_server() as server:
        place = {"access_key": "key", "secret": "hunter2", "endpoint": server.url}
        good = {"bucket": server.make_bucket().bucket} | place
        there = await look(files={"storage": "bucket", "bucket": good})
        missing = await look(files={"bucket": {"bucket": "nobodys"} | place})
    away = await look(files={"bucket": good | {"endpoint": "http://127.0.0.1:9"}})
    assert there["bucket"].ok
    assert there["bucket"].text.endswith("new files go there")
    for found in (missing, away):
        assert not found["bucket"].ok
        assert "can't be used" in found["bucket"].text
        assert "hunter2" not in str(found)
