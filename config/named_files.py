"""Files that the settings name: they are looked at before anything is started with them."""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo
from pydantic_core import PydanticCustomError

LOOK_AT_FILES: Mapping[str, bool] = {"look_at_files": True}
"""The context of a validation that tells of files that can't be used; without it none is opened."""

UNUSABLE_FILE = "unusable_file"
"""The type of their faults, which say themselves which file it is."""

_MIN_SECRET_CHARS = 32


def read_text(path: Path) -> str:
    """Return what a file holds.

    Raises:
        ValueError: It can't be read; says why.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"can't read {path}: it is not text") from None
    except OSError as error:
        raise ValueError(f"can't read {path}: {error.strerror}") from None


def long_enough(secret: str) -> str:
    """Return the service's secret key.

    Raises:
        ValueError: It is too short to be one.
    """
    if len(secret) < _MIN_SECRET_CHARS:
        raise ValueError(f"the secret key needs at least {_MIN_SECRET_CHARS} characters")
    return secret


def read_secret(path: Path) -> str:
    """Return the service's secret key, which a file holds.

    Raises:
        ValueError: It holds none, or can't be read.
    """
    return long_enough(read_text(path).strip())


def read_keys(path: Path) -> list[str]:
    """Return a provider's keys, one a line of a file.

    Raises:
        ValueError: It holds none, or can't be read.
    """
    keys = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not keys:
        raise ValueError(f"there is no key in {path}")
    return keys


def _read_authorities(path: Path) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"there is no certificate in {path}") from None
    except OSError as error:
        raise ValueError(f"can't read {path}: {error.strerror}") from None


def _that(look: Callable[[Path], object]) -> AfterValidator:
    def validate(path: Path, info: ValidationInfo) -> Path:
        if not info.context:
            return path
        try:
            look(path)
        except ValueError as error:
            raise PydanticCustomError(UNUSABLE_FILE, "{why}", {"why": str(error)}) from None
        return path

    return AfterValidator(validate)


TextFile = Annotated[Path, _that(read_text)]
SecretFile = Annotated[Path, _that(read_secret)]
KeysFile = Annotated[Path, _that(read_keys)]
AuthoritiesFile = Annotated[Path, _that(_read_authorities)]
