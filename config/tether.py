"""Run one command and end it when standard input closes.

`python -m config.tether '{"argv": […], "stop_signal": 2, "grace_s": 10, "user": null}'`

The supervisor holds the other end of the pipe. However it dies, the kernel closes that end, so the
command is always ended: first with its own stop signal, after the grace time with SIGKILL to its
process group. SIGTERM does the same; SIGTERM again tells the command again and cuts the grace time
short, a third one ends it. SIGUSR1 is handed on. PR_SET_PDEATHSIG covers the tether's own death on
Linux. Standard library only.
"""

import contextlib
import ctypes
import json
import os
import pwd
import select
import signal
import subprocess
import sys
import time
from typing import TypedDict

_LAST_MOMENT_S = 2.0
_HURRY_S = 20.0
_POLL_S = 0.2
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


class Spec(TypedDict):
    """What to run: the JSON argument of this module."""

    argv: list[str]
    stop_signal: int
    grace_s: float
    user: str | None
    pass_fds: list[int]


def become(user: str) -> None:
    """Give up root for `user`, keeping only the right to pass folders closed to others.

    PostgreSQL refuses to run as root, yet its data may lie below a folder only root may enter
    (`/root` is mode 700); changing that folder's mode is not ours to do. Linux capabilities(7).
    """
    entry = pwd.getpwnam(user)
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux":
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if sys.platform == "linux":
        keep = 1 << _CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        sets = (ctypes.c_uint32 * 6)(keep, keep, keep, 0, 0, 0)
        libc.capset(header, sets)
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def _start(spec: Spec) -> subprocess.Popen[bytes]:
    def prepare() -> None:
        if spec["user"]:
            become(spec["user"])
        if sys.platform == "linux":
            # After the change of user, which clears it.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, spec["stop_signal"], 0, 0, 0)

    return subprocess.Popen(
        spec["argv"],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=spec["pass_fds"],
        preexec_fn=prepare,  # noqa: PLW1509 - this process has one thread
    )


def _wait_for_end(child: subprocess.Popen[bytes]) -> None:
    """Return when the child has exited or standard input has closed."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGUSR1, lambda number, _: child.send_signal(number))
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopping.append(received))
    while child.poll() is None and not stopping:
        readable, _, _ = select.select([0, wake_read], [], [], 5)
        if wake_read in readable:
            os.read(wake_read, 512)
        if 0 in readable and not os.read(0, 512):
            return


def _stop(child: subprocess.Popen[bytes], spec: Spec) -> None:
    deadline = time.monotonic() + spec["grace_s"]
    hurry_s = _HURRY_S

    def hurry(*_: object) -> None:
        nonlocal deadline, hurry_s
        deadline = min(deadline, time.monotonic() + hurry_s)
        hurry_s = 0.0
        child.send_signal(spec["stop_signal"])

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hurry)
    child.send_signal(spec["stop_signal"])  # nothing happens where it has ended
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_POLL_S)
    if child.returncode is not None:
        _wait_for_group(child.pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _wait_for_group(group: int) -> None:
    """Give what the command started a moment: Python's resource tracker frees shared memory."""
    deadline = time.monotonic() + _LAST_MOMENT_S
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.02)


def main() -> int:
    """Run the command given as JSON in the first argument; return its exit status."""
    spec: Spec = json.loads(sys.argv[1])
    child = _start(spec)
    for descriptor in spec["pass_fds"]:
        os.close(descriptor)
    _wait_for_end(child)
    _stop(child, spec)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main())
