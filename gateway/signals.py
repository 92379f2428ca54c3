"""What signals, and the end of whoever started it, mean to the service."""

import asyncio
import math
import os
import signal
from collections.abc import Callable
from functools import partial

from config.settings import Settings
from gateway.children import say
from gateway.supervisor import Launch, Supervisor

_PARENT_POLL_S = 0.5
# A signal to the process group reaches us twice: make passes its own on.
_SAME_SIGNAL_S = 1.0


async def serve(settings: Settings, launch: Launch) -> int:
    """Run the service until SIGINT, SIGTERM or the end of its terminal; return the exit status.

    SIGTERM alone leaves balancers a moment to notice. A second signal cuts the grace time short.
    SIGUSR1, and SIGHUP where there is no terminal, let it take the settings as they are now.

    Raises:
        ConfigError: Something the operator must change keeps the service from starting.
    """
    supervisor = Supervisor(settings, launch)
    running = asyncio.create_task(supervisor.run())
    loop = asyncio.get_running_loop()
    hurry_from = math.inf

    def stop(*, at_once: bool = True) -> None:
        nonlocal hurry_from
        if not running.cancelling():
            say("naru: stopping (once more to hurry)")
            if at_once:
                supervisor.take_no_more()
            running.cancel()
            hurry_from = loop.time() + _SAME_SIGNAL_S
        elif loop.time() > hurry_from:
            supervisor.hurry()

    loop.add_signal_handler(signal.SIGTERM, partial(stop, at_once=False))
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGUSR1, supervisor.reload)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup(1) leaves it
        loop.add_signal_handler(signal.SIGHUP, stop if _has_terminal() else supervisor.reload)
    watch = asyncio.create_task(_watch_parent(launch.parent, stop))
    await asyncio.wait([running])
    watch.cancel()
    if not running.cancelled():
        running.result()
    return 0


def _has_terminal() -> bool:
    """Tell whether SIGHUP says that our terminal is gone; else somebody means us, to reload."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


async def _watch_parent(parent: int | None, stop: Callable[[], None]) -> None:
    if parent is None:
        return
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(_PARENT_POLL_S)
    stop()
