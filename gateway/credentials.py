"""`<data_dir>/demo.env`: what a client of the running demo needs, for shells and for `naru`."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from config.errors import ConfigError
from config.load import load_settings

FILE_NAME = "demo.env"
_PREFIX = "NARU_"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The demo's address, client, key, agent and vector store. An unknown one is empty.

    Attributes:
        url: Without a trailing slash.
        store: Id of the vector store that documents are added to.
    """

    url: str = ""
    client_id: str = ""
    client_secret: str = ""
    api_key: str = ""
    agent: str = ""
    store: str = ""

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """Return what the file says, or None when there is none."""
        try:
            text = (data_dir / FILE_NAME).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"can't read {data_dir / FILE_NAME}: {error.strerror}") from None
        pairs = (line.partition("=") for line in text.splitlines() if line.startswith(_PREFIX))
        return cls.pick({name: value for name, _, value in pairs})

    @classmethod
    def pick(cls, variables: Mapping[str, str]) -> Self:
        """Take the values out of `NARU_…` variables."""
        names = {name: _PREFIX + name.upper() for name in _names()}
        return cls(**{name: variables.get(variable, "") for name, variable in names.items()})

    def write(self, data_dir: Path) -> None:
        """Replace the file in one step; only its owner may read it (mode 600)."""
        lines = [f"{_PREFIX}{name.upper()}={getattr(self, name)}\n" for name in _names()]
        draft = data_dir / f"{FILE_NAME}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(data_dir / FILE_NAME)


def find_credentials(data_dir: Path, environ: Mapping[str, str]) -> Credentials:
    """Return what the environment says, and the demo's file where it says nothing.

    A client, a secret and a key belong together: the file's are not mixed with the environment's.

    Raises:
        ConfigError: Neither says where the service is.
    """
    given = Credentials.pick(environ)
    stored = Credentials.read(data_dir)
    if stored and not (given.client_id or given.api_key):
        values = {name: getattr(given, name) or getattr(stored, name) for name in _names()}
        return Credentials(**values)
    if not given.url:
        raise ConfigError(
            f"no {data_dir / FILE_NAME}: start the service with `make run`, or set NARU_URL, "
            "NARU_CLIENT_ID, NARU_CLIENT_SECRET and NARU_API_KEY"
        )
    return given


def credentials_here() -> Credentials:
    """Return what the environment and the settings of this folder say.

    Raises:
        ConfigError: Neither says where the service is.
    """
    return find_credentials(load_settings().data_dir, os.environ)


def _names() -> list[str]:
    return [field.name for field in fields(Credentials)]
