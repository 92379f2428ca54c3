"""A backup of a running service, restored into another database: everything is there again."""

import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from naru_process import NaruProcess, run_naru

from gateway.credentials import Credentials

_SAME = {"NARU__PUBLIC_URL": "http://naru.example"}
_QUESTION = "How many days of annual leave do I get?"


@pytest.fixture
async def other_database(postgres_server: str) -> AsyncIterator[str]:
    owner = await asyncpg.connect(postgres_server)
    await owner.execute('CREATE DATABASE "restored"')
    yield postgres_server.replace("/naru?", "/restored?")
    await owner.execute('DROP DATABASE "restored" WITH (FORCE)')
    await owner.close()


class Found:
    """What a service says of what was stored."""

    def __init__(self, url: str, known: Credentials, token: str) -> None:
        self._known = known
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=120) as http:
            self.agents = self._get(http, "/v1/agents")
            self.messages = self._get(http, "/v1/sessions/s-1/messages")
            self.files = self._get(http, "/v1/files")
            self.contents = [
                http.get(f"/v1/files/{each['id']}/content").raise_for_status().content
                for each in self.files["data"]
            ]
            search = f"/v1/vector_stores/{known.store}/search"
            found = http.post(search, json={"query": _QUESTION}).raise_for_status().json()
            self.passages = [(each["filename"], each["score"]) for each in found["data"]]
        by_key = {"authorization": f"Bearer {known.api_key}"}
        self.by_key = httpx.get(url + "/v1/models", headers=by_key, timeout=60).json()["object"]

    def _get(self, http: httpx.Client, path: str) -> Any:
        return http.get(path).raise_for_status().json()


def _token(url: str, known: Credentials) -> str:
    answer = httpx.post(
        url + "/oauth/token",
        auth=(known.client_id, known.client_secret),
        data={"grant_type": "client_credentials"},
        timeout=60,
    )
    return str(answer.raise_for_status().json()["access_token"])


def test_what_is_backed_up_is_there_again(
    tmp_path: Path, empty_database: str, other_database: str, redis_url: str
) -> None:
    stores = {"DATABASE_URL": empty_database, "REDIS_URL": redis_url, **_SAME}
    file = tmp_path / "naru.backup"
    with NaruProcess(tmp_path / "first", "--demo", environ=stores) as first:
        first.wait_until_ready()
        known = Credentials.read(first.data_dir)
        assert known is not None
        turn = {"message": _QUESTION, "session_id": "s-1"}
        token = _token(first.url, known)
        headers = {"authorization": f"Bearer {token}"}
        asked = f"{first.url}/v1/agents/{known.agent}/chat"
        httpx.post(asked, json=turn, headers=headers, timeout=120).raise_for_status()
        before = Found(first.url, known, token)
        own = {**stores, "NARU__DATA_DIR": str(first.data_dir)}
        made = run_naru(tmp_path, own, "backup", str(file))
        assert made.returncode == 0, made.stderr
        assert "it holds the secret key" in made.stdout
        into_itself = run_naru(tmp_path, own, "restore", str(file))
        assert "the database is not empty" in into_itself.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        assert set(archive.getnames()) == {"manifest.json", "secret.key", "database.dump"}

    restored = {**stores, "DATABASE_URL": other_database}
    own = {**restored, "NARU__DATA_DIR": str(tmp_path / "second")}
    done = run_naru(tmp_path, own, "restore", str(file))
    assert done.returncode == 0, done.stderr
    assert "wrote the secret key" in done.stdout
    with NaruProcess(tmp_path / "second", environ=restored) as again:
        again.wait_until_ready()
        assert "applied" not in again.output
        after = Found(again.url, known, token)
        assert _token(again.url, known)
    assert vars(after) == vars(before)
    assert before.passages
    assert before.messages["data"]
    assert all(before.contents)
