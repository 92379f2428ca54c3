"""The configured secret and what is derived from it: encryption at rest and keyed hashes."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from config.errors import ConfigError
from config.named_files import read_secret
from config.settings import AuthSettings

_DEFAULT_FILE = "secret.key"
_NONCE_BYTES = 12


class SecretBox:
    """Seals what must be read again, hashes what must only be recognised.

    Every use has a key of its own, derived with HKDF (RFC 5869): none reveals another.

    Attributes:
        audit_key: Makes the hashes of the audit log.
        salt_key: Makes the salts that part one tenant's cached prompts from another's in an engine.
        masking_key: Makes the stand-ins for personal data that hosted models read.
    """

    def __init__(self, secret: str) -> None:
        self._cipher = AESGCM(_derive(secret, b"naru seal"))
        self._hash_key = _derive(secret, b"naru digest")
        self._nonce_key = _derive(secret, b"naru nonce")
        self._pseudonym_key = _derive(secret, b"naru pseudonym")
        self.audit_key = _derive(secret, b"naru audit")
        self.salt_key = _derive(secret, b"naru engine cache")
        self.masking_key = _derive(secret, b"naru masking")

    @classmethod
    def load(cls, settings: AuthSettings, data_dir: Path) -> Self:
        """Read `secret_key`, else `secret_key_file`, else `<data_dir>/secret.key`.

        Only the last is made when missing, with mode 600; of several processes that start at once
        one makes it and all read the same.

        Raises:
            ConfigError: The secret can't be read or written, or has fewer than 32 characters.
        """
        if settings.secret_key is not None:
            return cls(settings.secret_key.get_secret_value())
        path = settings.secret_path(data_dir)
        try:
            if settings.secret_key_file is None:
                _create(path)
            return cls(read_secret(path))
        except OSError as error:
            raise ConfigError(f"can't write the secret key {path}: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(f"the secret key {path}: {error}") from None

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt and authenticate (AES-256-GCM); only `open` with the same context reads it."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt what `seal` made.

        Raises:
            ConfigError: It was sealed with another secret or context, or was altered.
        """
        nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, encrypted, context)
        except (InvalidTag, ValueError):
            raise ConfigError(
                "the database was sealed with another secret key: "
                "set auth.secret_key or auth.secret_key_file to the one used before"
            ) from None

    def digest(self, secret: str) -> bytes:
        """Return the keyed hash (HMAC-SHA256) under which a secret is stored.

        Enough without stretching, because every secret hashed here holds 256 random bits.
        """
        return hmac.digest(self._hash_key, secret.encode(), hashlib.sha256)

    def pseudonym(self, name: str) -> bytes:
        """Return what stands for a name where the name itself must not be known."""
        return hmac.digest(self._pseudonym_key, name.encode(), hashlib.sha256)

    def nonce(self, period: int) -> bytes:
        """Return what nobody without the secret can say in advance of a period of time."""
        return hmac.digest(self._nonce_key, period.to_bytes(8, "big"), hashlib.sha256)


def _derive(secret: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())


def _create(path: Path) -> None:
    """Make the file unless it exists. The link makes it appear whole and only once."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    except FileExistsError:
        return
    finally:
        draft.unlink()
