"""An engine's servers, and which of them takes a prompt."""

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from config.settings import EngineSettings
from config.tasks import end_task
from gateway.errors import Unavailable
from gateway.generation.admission import Admission
from gateway.generation.breaker import retry_after
from gateway.generation.budget import RetryBudget
from gateway.generation.http1 import HttpClient
from gateway.generation.replica import Replica
from gateway.generation.target import Prompt
from gateway.generation.transcript import words_of
from gateway.observe import metrics

_LOOK_S = 1.0
_SLACK = 1.25
_SPARE = 2.0
_PREFIX_BYTES = 1024
_KEEP_ALIVE_S = 3.0  # vLLM closes what was idle for 5 s


class Replicas:
    """The servers of the engine called `name`; `salt_key` is the same in every process."""

    def __init__(
        self, name: str, settings: EngineSettings, replicas: Sequence[Replica], salt_key: bytes
    ) -> None:
        self.name = name
        self.total_timeout_s = settings.total_timeout_s
        self.admission = Admission(
            f"engine {name}",
            limit=settings.max_requests,
            queue=settings.max_queue,
            timeout_s=settings.queue_timeout_s,
        )
        self.budget = RetryBudget()
        self._replicas = tuple(replicas)
        self._salt_key = salt_key

    @property
    def up(self) -> bool:
        """Whether one of them can be asked."""
        return any(replica.up for replica in self._replicas)

    @property
    def usable(self) -> bool:
        """Whether one of them can be asked, and does not rest after failures."""
        return any(replica.up and not replica.breaker.wait_s for replica in self._replicas)

    @property
    def context(self) -> int | None:
        """Return how many tokens its model holds; None while that is not known."""
        return next((replica.context for replica in self._replicas if replica.context), None)

    def salt(self, tenant: str) -> str:
        """Return what keeps a tenant's cached prefixes from being guessed by another's prompts."""
        return hmac.digest(self._salt_key, tenant.encode(), hashlib.sha256).hex()

    def choose(self, prompt: Prompt, tried: Collection[Replica] = ()) -> Replica:
        """Return the replica that has this prompt's beginning in its cache, unless it is too busy.

        Too busy is: more than 1.25 of the mean load, and two requests; then the least busy it is.

        Raises:
            Unavailable: None can be asked.
        """
        usable = [
            replica
            for replica in self._replicas
            if replica.up and replica not in tried and not replica.breaker.wait_s
        ]
        if not usable:
            message = f"engine {self.name} can't be asked at the moment; try again"
            raise Unavailable(message, code="engine_unavailable", headers=retry_after(1.0))
        if len(usable) == 1:
            return usable[0]
        key = _affinity(prompt)
        usable.sort(key=lambda replica: _rank(key, replica.url))
        mean = sum(replica.load for replica in usable) / len(usable)
        if usable[0].load <= _SLACK * mean + _SPARE:
            return usable[0]
        return min(usable, key=lambda replica: replica.load)

    async def watch(self) -> None:
        """Look after them every second, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Ask each how it is."""
        await asyncio.gather(*(replica.look() for replica in self._replicas))


@asynccontextmanager
async def open_engines(
    settings: Mapping[str, EngineSettings],
    sockets: Mapping[str, Sequence[str]],
    salt_key: bytes,
) -> AsyncIterator[dict[str, Replicas]]:
    """Open connections to every engine; `sockets` says where the ones we started listen."""
    async with AsyncExitStack() as stack:
        engines = {}
        for name, each in settings.items():
            replicas = []
            for url in each.urls or sockets.get(name, ()):
                session = aiohttp.ClientSession(connector=_connector(url, each))
                looking = await stack.enter_async_context(session)
                http = await stack.enter_async_context(_client(url, each))
                replicas.append(Replica(f"engine/{name}", url, each, http, looking))
            engines[name] = Replicas(name, each, replicas, salt_key)
        await asyncio.gather(*(engine.look() for engine in engines.values()))
        for engine in engines.values():
            watching = asyncio.create_task(engine.watch(), name=f"watch-{engine.name}")
            stack.push_async_callback(end_task, watching)
        yield engines


def look_at_engines(engines: Mapping[str, Replicas]) -> None:
    """Set the gauges of what engines work on, and of who waits for them."""
    for name, engine in engines.items():
        metrics.ENGINE_IN_FLIGHT.set(engine.admission.inside, name)
        metrics.QUEUE_LENGTH.set(engine.admission.waiting, name)
        metrics.QUEUE_OLDEST.set(engine.admission.oldest_wait_s, name)


def _client(url: str, settings: EngineSettings) -> HttpClient:
    if url.startswith("unix://"):
        return HttpClient(unix_socket=url.removeprefix("unix://"), keep_s=_KEEP_ALIVE_S)
    trusted = ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else None
    return HttpClient(trusted=trusted, keep_s=_KEEP_ALIVE_S)


def _connector(url: str, settings: EngineSettings) -> aiohttp.BaseConnector:
    if url.startswith("unix://"):
        path = url.removeprefix("unix://")
        return aiohttp.UnixConnector(path, limit=0, keepalive_timeout=_KEEP_ALIVE_S)
    trusted = ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else True
    return aiohttp.TCPConnector(limit=0, ssl=trusted, keepalive_timeout=_KEEP_ALIVE_S)


def _affinity(prompt: Prompt) -> bytes:
    """Return what prompts that begin alike have in common, a tenant's apart from another's."""
    said = prompt.affinity
    if said is None:
        return prompt.tenant.encode() + b"\0" + words_of(prompt)[:_PREFIX_BYTES]
    return f"{prompt.tenant}\0{said}".encode("utf-8", "replace")


def _rank(key: bytes, url: str) -> bytes:
    """Return a place that no other replica's coming or going changes (rendezvous hashing)."""
    return hashlib.blake2b(key, key=hashlib.sha256(url.encode()).digest(), digest_size=8).digest()
