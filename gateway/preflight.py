"""What must hold before anything is started: a free port, a data folder that is ours alone."""

import asyncio
import errno
import fcntl
import os
import socket
import time
from pathlib import Path

from config.errors import ConfigError
from config.settings import ServerSettings

_RETRY_S = 0.1


def bind(server: ServerSettings) -> socket.socket:
    """Return a socket bound to the service's address; it does not listen yet.

    Raises:
        ConfigError: The address is taken, not ours or unknown.
    """
    address = f"{server.host}:{server.port}"
    try:
        family, kind, protocol, _, sockaddr = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"can't resolve HOST {server.host}: {error.strerror}") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(sockaddr)
    except OSError as error:
        listener.close()
        raise ConfigError(_explain(error, address, server.port)) from None
    return listener


def listen(listener: socket.socket, server: ServerSettings) -> None:
    """Begin to accept connections: the kernel queues them until a web worker takes them.

    Raises:
        ConfigError: Another process began to listen there since `bind`.
    """
    try:
        listener.listen(2048)
    except OSError as error:
        address = f"{server.host}:{server.port}"
        raise ConfigError(_explain(error, address, server.port)) from None


def _explain(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else port - 1
        return f"{address} is in use by another program: choose a port, `PORT={other} make run`"
    if error.errno == errno.EACCES:
        return f"{address} needs root rights: choose a port above 1023, `PORT=8080 make run`"
    return f"can't listen on {address}: {error.strerror}; set HOST to an address of this machine"


def open_data_dir(path: Path) -> Path:
    """Make the data folder when missing and return its absolute path.

    Raises:
        ConfigError: It can't be written.
    """
    path = path.resolve()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(_unwritable(path, error)) from None
    return path


def lock(path: Path) -> int:
    """Take the lock that says a supervisor runs on this data folder, and which process that is.

    Keep the descriptor open.

    Raises:
        ConfigError: Another one holds it, or the folder can't be written.
    """
    descriptor = _open_lock(path / "naru.lock")
    if not _try_lock(descriptor):
        os.close(descriptor)
        raise ConfigError(
            f"another naru is running on {path}: stop it, or set NARU__DATA_DIR to another folder"
        )
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


async def lock_for_children(path: Path, wait_s: float) -> int:
    """Take the lock that every child inherits; keep the descriptor open.

    Closing the last copy releases it, so it is free only when the children of a supervisor that
    was killed are all gone.

    Raises:
        ConfigError: They did not end in time.
    """
    descriptor = _open_lock(path / "children.lock")
    deadline = time.monotonic() + wait_s
    while not _try_lock(descriptor):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise ConfigError(
                f"processes of an earlier naru still use {path} after {wait_s:g} s: end them first"
            )
        await asyncio.sleep(_RETRY_S)
    return descriptor


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(_unwritable(path.parent, error)) from None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unwritable(path: Path, error: OSError) -> str:
    return f"can't write to the data folder {path} ({error.strerror}): set NARU__DATA_DIR"
