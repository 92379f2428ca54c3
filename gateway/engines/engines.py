"""The engines that one run of the service starts."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from config.settings import EngineSettings
from gateway.children import Child, say
from gateway.engines.check import check_engine
from gateway.engines.command import command, environment
from gateway.engines.replica import Replica


class Engines:
    """Children for every engine whose settings name a model; engines elsewhere are left alone."""

    def __init__(
        self,
        settings: Mapping[str, EngineSettings],
        *,
        runtime: Path,
        logs: Path,
        grace_s: float,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._settings = {name: each for name, each in settings.items() if each.model}
        self.replicas = [
            _replica(
                name,
                each,
                number,
                socket=runtime / f"engine-{place}-{number}.sock",
                logs=logs,
                grace_s=grace_s,
                pass_fds=pass_fds,
            )
            for place, (name, each) in enumerate(self._settings.items())
            for number in range(1, each.replicas + 1)
        ]

    @property
    def urls(self) -> dict[str, list[str]]:
        """Return where the children of each engine listen."""
        return {
            name: [f"unix://{each.socket}" for each in self.replicas if each.engine == name]
            for name in self._settings
        }

    async def check(self) -> None:
        """Ask vLLM whether it takes the settings, and tell what will run.

        Raises:
            ConfigError: Something of them must be changed.
        """
        found = await asyncio.gather(*(check_engine(*item) for item in self._settings.items()))
        for (name, each), version in zip(self._settings.items(), found, strict=True):
            say(f"  engine {name}: {each.model}, {version}")

    async def watch(self) -> None:
        """Tell of every start; runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for replica in self.replicas:
                tasks.create_task(replica.watch())

    async def settled(self) -> None:
        """Return when each was up once, or should not be waited for."""
        for replica in self.replicas:
            await replica.settled.wait()


def _replica(
    name: str,
    settings: EngineSettings,
    number: int,
    *,
    socket: Path,
    logs: Path,
    grace_s: float,
    pass_fds: Sequence[int],
) -> Replica:
    run = command(name, settings, socket, grace_s, number)
    log = logs / f"{run.name}.log"
    environ = environment(settings, os.environ, number)
    return Replica(name, Child(run, environ, pass_fds, log, socket), socket, log)
