"""The parent process: starts the stores and the workers, keeps them running, stops them in order.

Start: stores, migrations, engines, job worker, workers with models, demo data, web workers. Stop:
the reverse. Nothing waits for an engine but the word that the service is ready.
"""

import asyncio
import json
import math
import os
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from config import embedded
from config.embedded import Command
from config.errors import ConfigError
from config.load import ENGINES_VARIABLE, FILE_VARIABLE, SOCKETS_VARIABLE, STARTING_VARIABLE
from config.postgres import migrate
from config.settings import ServerSettings, Settings
from gateway import preflight, probes
from gateway.children import Child, say, stop_all
from gateway.engines.engines import Engines
from gateway.model_workers import model_workers

PACKAGES = ("auth", "rag", "gateway")
"""Whose migrations are applied, in this order."""

_PREVIOUS_INSTANCE_S = 30.0
_PARENT_POLL_S = 0.5
# A signal to the process group reaches us twice: make passes its own on.
_SAME_SIGNAL_S = 1.0
_DRAIN_MARGIN_S = 5.0
_READY_S = 180.0
_MODEL_STARTS = 3
_SOCKET_POLL_S = 0.1
_STORE_VARIABLES = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")


@dataclass(frozen=True, slots=True)
class Launch:
    """How this run was asked for.

    Attributes:
        config_file: The settings file named on the command line.
        parent: Stop when this process is no longer our parent.
        provision: What to do between the migrations and serving; receives the owner's database URL.
        announce: Called once, when the service is ready.
    """

    config_file: Path | None = None
    parent: int | None = None
    provision: Callable[[str], Awaitable[None]] | None = None
    announce: Callable[[], None] = lambda: None


async def serve(settings: Settings, launch: Launch) -> int:
    """Run the service until SIGINT, SIGTERM or SIGHUP; return the exit status.

    A second signal cuts the grace time short.

    Raises:
        ConfigError: Something the operator must change keeps the service from starting.
    """
    supervisor = Supervisor(settings, launch)
    running = asyncio.create_task(supervisor.run())
    loop = asyncio.get_running_loop()
    hurry_from = math.inf

    def stop() -> None:
        nonlocal hurry_from
        if not running.cancelling():
            say("naru: stopping (once more to hurry)")
            running.cancel()
            hurry_from = loop.time() + _SAME_SIGNAL_S
        elif loop.time() > hurry_from:
            supervisor.hurry()

    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup(1) leaves it
        signals.append(signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, stop)
    watch = asyncio.create_task(_watch_parent(launch.parent, stop))
    await asyncio.wait([running])
    watch.cancel()
    if not running.cancelled():
        running.result()
    return 0


async def _watch_parent(parent: int | None, stop: Callable[[], None]) -> None:
    if parent is None:
        return
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(_PARENT_POLL_S)
    stop()


@dataclass(slots=True)
class Supervisor:
    """One run of the service on one data folder."""

    settings: Settings
    launch: Launch
    _children: list[Child] = field(default_factory=list)
    _environ: dict[str, str] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _lock: int = -1

    async def run(self) -> None:
        """Run until cancelled; then end everything that was started."""
        async with self._stack as stack:
            listeners = [
                stack.enter_context(preflight.bind(server)) for server in self._addresses()
            ]
            data_dir = preflight.open_data_dir(self.settings.data_dir)
            stack.callback(os.close, preflight.lock(data_dir))
            patience_s = _PREVIOUS_INSTANCE_S + self.settings.server.grace_s
            self._lock = await preflight.lock_for_children(data_dir, patience_s)
            stack.callback(os.close, self._lock)
            runtime = embedded.runtime_dir(data_dir)
            stack.callback(shutil.rmtree, runtime, ignore_errors=True)
            engines = self._engines(data_dir, runtime)
            checking = self._task(engines.check())
            await self._start_stores(data_dir, runtime)
            await self._migrate()
            await checking
            starting = self._start_engines(engines, runtime)
            await self._start_workers(data_dir)
            if self.launch.provision:
                await self.launch.provision(self._environ["NARU__DATABASE__URL"])
            self._start_serving(listeners)
            await starting
            degraded = await probes.wait_until_ready(self.settings.server, _READY_S)
            if degraded:
                say(f"naru: serving without {', '.join(degraded)}: see the lines above")
            self.launch.announce()
            await asyncio.Event().wait()

    def hurry(self) -> None:
        """Cut short the grace time of whatever is being stopped."""
        for child in self._children:
            child.hurry()

    async def _start_stores(self, data_dir: Path, runtime: Path) -> None:
        environ = {name: os.environ[name] for name in _STORE_VARIABLES if name in os.environ}
        database, redis = self.settings.database.url, self.settings.redis.url
        logs = data_dir / "logs"
        if database is None:
            say("  starting PostgreSQL")
            command = await asyncio.to_thread(embedded.postgres_command, data_dir, runtime)
            self._start([Child(command, environ, (self._lock,), logs / "postgres.log")])
        if redis is None:
            command = embedded.redis_command(data_dir, runtime)
            self._start([Child(command, environ, (self._lock,), logs / "redis.log")])
        database_url = database.get_secret_value() if database else embedded.postgres_url(runtime)
        redis_url = redis.get_secret_value() if redis else embedded.redis_url(runtime)
        found = await asyncio.gather(
            probes.wait_for_postgres(database_url), probes.wait_for_redis(redis_url)
        )
        say(f"  PostgreSQL {found[0]}, Redis {found[1]}")
        self._environ = self._resolved(data_dir, runtime, database_url, redis_url)

    def _resolved(
        self, data_dir: Path, runtime: Path, database_url: str, redis_url: str
    ) -> dict[str, str]:
        """Return the environment in which our own children find what was started."""
        file = self.launch.config_file
        return {
            **os.environ,
            **({FILE_VARIABLE: str(file.resolve())} if file else {}),
            SOCKETS_VARIABLE: str(runtime),
            "NARU__DATABASE__URL": database_url,
            "NARU__REDIS__URL": redis_url,
            "NARU__DATA_DIR": str(data_dir),
            "NARU__SERVER__HOST": self.settings.server.host,
            "NARU__SERVER__PORT": str(self.settings.server.port),
        }

    async def _migrate(self) -> None:
        try:
            applied = await migrate(self._environ["NARU__DATABASE__URL"], PACKAGES)
        except asyncpg.PostgresError as error:
            raise ConfigError(f"the database can't be prepared: {error}") from None
        if applied:
            say(f"  applied {len(applied)} migration(s)")

    async def _start_workers(self, data_dir: Path) -> None:
        self._start([Child(_python("jobs", "gateway.job_worker"), self._environ, (self._lock,))])
        workers = list(
            model_workers(
                self.settings.embedding,
                self.settings.reranker,
                Path(self._environ[SOCKETS_VARIABLE]),
                data_dir / "models",
            )
        )
        for worker in workers:
            say(f"  loading the model {worker.model}")
        children = [
            Child(
                worker.command,
                self._environ,
                (self._lock,),
                data_dir / "logs" / f"{worker.command.name}.log",
                worker.socket,
            )
            for worker in workers
        ]
        self._start(children)
        await asyncio.gather(*map(_wait_for_model, children))

    def _engines(self, data_dir: Path, runtime: Path) -> Engines:
        return Engines(
            self.settings.engines,
            runtime=runtime,
            logs=data_dir / "logs",
            grace_s=self.settings.server.grace_s,
            pass_fds=(self._lock,),
        )

    def _start_engines(self, engines: Engines, runtime: Path) -> asyncio.Task[None]:
        """Start them; return what ends when each was up once, and web workers are to say so."""
        if not engines.replicas:
            return self._task(engines.settled())
        starting = runtime / "starting"
        starting.touch()
        self._environ[STARTING_VARIABLE] = str(starting)
        self._environ[ENGINES_VARIABLE] = json.dumps(engines.urls)
        self._start([each.child for each in engines.replicas])
        self._task(engines.watch())

        async def settle() -> None:
            await engines.settled()
            starting.unlink()

        return self._task(settle())

    def _task(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Do something beside the rest, until this run ends."""
        task = asyncio.create_task(work)
        self._stack.callback(task.cancel)
        return task

    def _addresses(self) -> list[ServerSettings]:
        """Return where web workers listen: the service's own port, then the operators' if any."""
        server, telemetry = self.settings.server, self.settings.telemetry
        if telemetry.metrics_port is None:
            return [server]
        operators = {"host": telemetry.metrics_host, "port": telemetry.metrics_port}
        return [server, server.model_copy(update=operators)]

    def _start_serving(self, listeners: Sequence[socket.socket]) -> None:
        for listener, server in zip(listeners, self._addresses(), strict=True):
            preflight.listen(listener, server)
        grace_s = self.settings.server.grace_s + _DRAIN_MARGIN_S
        arguments = [f"--fd={listener.fileno()}" for listener in listeners]
        commands = [
            _python(f"web-{number}", "gateway.web_worker", *arguments, grace_s=grace_s)
            for number in range(1, self.settings.server.workers + 1)
        ]
        descriptors = (*(listener.fileno() for listener in listeners), self._lock)
        self._start([Child(command, self._environ, descriptors) for command in commands])

    def _start(self, children: list[Child]) -> None:
        """Start children that are to be stopped together, before all those started earlier."""
        self._children += children
        for child in children:
            child.start()
        self._stack.push_async_callback(stop_all, children)


async def _wait_for_model(worker: Child) -> None:
    """Return when the worker listens, or when it is better to serve without it."""
    deadline = asyncio.get_running_loop().time() + _READY_S
    while not (worker.socket and worker.socket.exists()) and worker.starts < _MODEL_STARTS:
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(_SOCKET_POLL_S)


def _python(name: str, module: str, *arguments: str, grace_s: float = 10.0) -> Command:
    # -P: a folder the operator happens to stand in must not shadow our packages.
    return Command(name, [sys.executable, "-P", "-m", module, *arguments], grace_s=grace_s)
