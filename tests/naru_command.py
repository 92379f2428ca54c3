"""The command line on a migrated database of its own, without a running service."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.postgres import migrate


@pytest.fixture
async def database(empty_database: str) -> str:
    await migrate(empty_database, ["auth", "rag", "gateway"])
    return empty_database


class Naru:
    """The command line in a folder of its own."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith("NARU")}
        self._environ = clean | {"DATABASE_URL": database, "COLUMNS": "200"}

    def run(
        self, *arguments: str, stdout: int = subprocess.PIPE
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-P", "-m", "gateway", *arguments],
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )

    def say(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def say_to_nobody(self, *arguments: str) -> None:
        """Run it with a reader that is gone: it ends without a word."""
        reading, writing = os.pipe()
        os.close(reading)
        try:
            result = self.run(*arguments, stdout=writing)
        finally:
            os.close(writing)
        assert (result.returncode, result.stderr) == (1, "")

    def refuse(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("naru: ")
        assert result.stderr.count("\n") == 1, result.stderr
        return result.stderr


@pytest.fixture
def naru(tmp_path: Path, database: str) -> Naru:
    return Naru(tmp_path, database)
