"""The parent process: starts the stores and the workers, keeps them running, stops them in order.

Start: stores, migrations, engines, job worker, workers with models, demo data, web workers. Stop:
the reverse. Nothing waits for an engine but the word that the service is ready.
"""

import asyncio
import itertools
import json
import os
import shutil
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from config import embedded
from config.embedded import python_command
from config.errors import ConfigError
from config.load import ENGINES_VARIABLE, FILE_VARIABLE, SOCKETS_VARIABLE, STARTING_VARIABLE
from config.postgres import look_at_schema, migrate
from config.settings import ServerSettings, Settings
from gateway import preflight, probes
from gateway.children import Child, say, stop_all
from gateway.engines.engines import Engines
from gateway.model_workers import model_workers
from gateway.observe.process import named
from gateway.reload import check_reloadable, copy_settings, load_copy, tell_outcome
from gateway.web_workers import WebWorkers

PACKAGES = ("auth", "rag", "gateway")
"""Whose migrations are applied, in this order."""

_PREVIOUS_INSTANCE_S = 30.0
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


@dataclass(slots=True)
class Supervisor:
    """One run of the service on one data folder."""

    settings: Settings
    launch: Launch
    _groups: list[list[Child]] = field(default_factory=list)
    _jobs: list[Child] = field(default_factory=list)
    _web: WebWorkers | None = None
    _reload_asked: asyncio.Event = field(default_factory=asyncio.Event)
    _reloads: int = 0
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
            self._start_serving(listeners, runtime)
            await starting
            degraded = await probes.wait_until_ready(self.settings.server, _READY_S)
            if degraded:
                say(f"naru: serving without {', '.join(degraded)}: see the lines above")
            self.launch.announce()
            await self._reload_when_asked(runtime)

    def take_no_more(self) -> None:
        """Refuse connections from now on: nobody balances ours."""
        if self._web:
            self._web.take_no_more()

    def reload(self) -> None:
        """Take the settings as they are now, as soon as the service is ready."""
        self._reload_asked.set()

    def hurry(self) -> None:
        """Cut short the grace time of whatever is being stopped."""
        for child in itertools.chain(*self._groups):
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
        return {
            **os.environ,
            FILE_VARIABLE: str(copy_settings(self.launch.config_file, runtime, 0)),
            SOCKETS_VARIABLE: str(runtime),
            "NARU__DATABASE__URL": database_url,
            "NARU__REDIS__URL": redis_url,
            "NARU__DATA_DIR": str(data_dir),
            "NARU__SERVER__HOST": self.settings.server.host,
            "NARU__SERVER__PORT": str(self.settings.server.port),
        }

    async def _migrate(self) -> None:
        url = self._environ["NARU__DATABASE__URL"]
        try:
            applied = await migrate(url, PACKAGES)
            unknown = (await look_at_schema(url, PACKAGES)).unknown
        except asyncpg.PostgresError as error:
            raise ConfigError(f"the database can't be prepared: {error}") from None
        if applied:
            say(f"  applied {len(applied)} migration(s)")
        if unknown:
            say(f"  the database is newer than this version: it holds {', '.join(unknown)}")

    async def _start_workers(self, data_dir: Path) -> None:
        self._jobs = [self._job_worker()]
        self._start(self._jobs)
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
                named(self._environ, worker.command.name),
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

    def _start_serving(self, listeners: Sequence[socket.socket], runtime: Path) -> None:
        for listener, server in zip(listeners, self._addresses(), strict=True):
            preflight.listen(listener, server)
        self._web = web = WebWorkers(listeners, self._lock, runtime)
        self._groups.append(web.children)
        self._stack.push_async_callback(web.close)
        web.start(self.settings.server, self._environ)

    async def _reload_when_asked(self, runtime: Path) -> None:
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            self._reloads += 1
            try:
                await self._reload(runtime)
            except ConfigError as error:
                say(f"naru: the settings stay as they were: {error}")
                tell_outcome(runtime, self._reloads, error)
            else:
                say("naru: the settings are the new ones")
                tell_outcome(runtime, self._reloads, None)

    async def _reload(self, runtime: Path) -> None:
        """Let workers with the settings as they are now take over.

        Raises:
            ConfigError: They can't; everything is as it was.
        """
        named = self.launch.config_file
        copy = copy_settings(named, runtime, self._reloads)
        settings = load_copy(named, copy)
        check_reloadable(self.settings, settings)
        environ = {**self._environ, FILE_VARIABLE: str(copy)}
        if self._web:
            await self._web.replace(settings.server, environ)
        self._environ, self.settings = environ, settings
        await self._replace_job_worker()

    async def _replace_job_worker(self) -> None:
        before = list(self._jobs)
        self._jobs.append(self._job_worker())
        self._jobs[-1].start()
        await stop_all(before)
        for child in before:
            self._jobs.remove(child)

    def _job_worker(self) -> Child:
        command = python_command("jobs", "gateway.job_worker")
        return Child(command, named(self._environ, command.name), (self._lock,))

    def _start(self, children: list[Child]) -> None:
        """Start children that are to be stopped together, before all those started earlier."""
        self._groups.append(children)
        for child in children:
            child.start()
        self._stack.push_async_callback(stop_all, children)


async def _wait_for_model(worker: Child) -> None:
    """Return when the worker listens, or when it is better to serve without it."""
    deadline = asyncio.get_running_loop().time() + _READY_S
    while not (worker.sign and worker.sign.exists()) and worker.starts < _MODEL_STARTS:
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(_SOCKET_POLL_S)
