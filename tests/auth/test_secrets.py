from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from auth import SecretBox
from auth.secrets import _derive
from config.errors import ConfigError
from config.settings import AuthSettings

LONG = "x" * 32


def test_what_was_sealed_opens_again_and_is_not_readable(box: SecretBox) -> None:
    sealed = box.seal(b"private", b"context")
    assert b"private" not in sealed
    assert box.open(sealed, b"context") == b"private"
    assert box.seal(b"private", b"context") != sealed


@pytest.mark.parametrize(
    ("change", "context"),
    [
        (lambda sealed: sealed, b"other"),
        (lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]), b"context"),
        (lambda sealed: sealed[:5], b"context"),
        (lambda sealed: sealed[:0], b"context"),
    ],
)
def test_altered_or_misplaced_seals_stay_shut(box: SecretBox, change, context: bytes) -> None:  # noqa: ANN001
    with pytest.raises(ConfigError, match="another secret key"):
        box.open(change(box.seal(b"private", b"context")), context)


def test_another_secret_opens_nothing_and_hashes_differently(box: SecretBox) -> None:
    other = SecretBox(LONG)
    assert other.digest("a") != box.digest("a")
    with pytest.raises(ConfigError, match="another secret key"):
        other.open(box.seal(b"private", b""), b"")


def test_each_use_has_a_key_of_its_own() -> None:
    assert _derive(LONG, b"naru seal") != _derive(LONG, b"naru digest")
    box = SecretBox(LONG)
    assert box.pseudonym("a") != box.digest("a")


def test_the_setting_wins_over_the_file(tmp_path: Path) -> None:
    box = SecretBox.load(AuthSettings(secret_key=SecretStr(LONG)), tmp_path)
    assert box.digest("a") == SecretBox(LONG).digest("a")
    assert list(tmp_path.iterdir()) == []


def test_a_named_file_is_read_without_its_newline(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(LONG + "\n")
    box = SecretBox.load(AuthSettings(secret_key_file=tmp_path / "key"), tmp_path)
    assert box.digest("a") == SecretBox(LONG).digest("a")


def test_the_default_file_is_made_once_and_private(tmp_path: Path) -> None:
    data_dir = tmp_path / "new"
    with ThreadPoolExecutor(8) as threads:
        boxes = list(threads.map(lambda _: SecretBox.load(AuthSettings(), data_dir), range(8)))
    assert len({box.digest("a") for box in boxes}) == 1
    assert [file.name for file in data_dir.iterdir()] == ["secret.key"]
    assert (data_dir / "secret.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, "short", "", "\xff" * 40])
def test_an_unusable_file_is_one_clear_line(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=str(path)) as caught:
        SecretBox.load(AuthSettings(secret_key_file=path), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("secret", ["", "hunter2", "x" * 31])
def test_a_short_setting_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValidationError, match="at least 32 characters") as caught:
        AuthSettings(secret_key=SecretStr(secret))
    assert "hunter2" not in str(caught.value)
