"""One server of an engine, as this process knows it: is it up, how busy is it, how quick."""

import re
import time
from dataclasses import dataclass

import aiohttp
import msgspec

from config.settings import EngineSettings
from gateway.generation.breaker import Breaker
from gateway.generation.http1 import HttpClient, header_lines
from gateway.generation.prediction import FirstTokenTimes
from gateway.generation.shares import Shares
from gateway.generation.upstream import Upstream

_TRY = aiohttp.ClientTimeout(total=2.0)
_TRUST_S = 30.0
_FULL_CACHE = 0.95
_METRIC = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc)\{[^}]*\} (\S+)$",
    re.MULTILINE,
)


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


_decode_models = msgspec.json.Decoder(_Models).decode


@dataclass(eq=False, slots=True)
class Visit:
    """A request of ours at the replica.

    Attributes:
        tokens: How long its prompt is.
        ahead: How many tokens were to be read before its own first one.
        since: When it began (`time.monotonic`).
        share: What `Shares` had given each request by then.
    """

    tokens: int
    ahead: float
    since: float
    share: int


class Replica:
    """A server at a URL; `look` is called every second.

    `http` carries requests, `looking` asks how it is; both are closed elsewhere.

    Attributes:
        up: Whether it answered when it was last asked.
        model: What its model is called there; empty while that is not known.
        context: How many tokens that model holds.
    """

    def __init__(
        self,
        engine: str,
        url: str,
        settings: EngineSettings,
        http: HttpClient,
        looking: aiohttp.ClientSession,
    ) -> None:
        self.url = url
        self.up = False
        self.model = ""
        self.context: int | None = None
        self.breaker = Breaker(engine)
        self.headers: dict[str, str] = {}
        if settings.api_key:
            self.headers["authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        self.lines = header_lines(self.headers)
        base = "http://engine/v1" if url.startswith("unix://") else url
        self.upstream = Upstream(engine, base, http, settings)
        self._root = base.removesuffix("/v1")
        self._looking = looking
        self._shares = Shares()
        self._visits: set[Visit] = set()
        self._unread: set[Visit] = set()
        self._others = self._others_waiting = self._cache_use = 0.0
        self._times = FirstTokenTimes()
        self._last_sample = 0.0

    @property
    def load(self) -> float:
        """Return how many requests it has: ours now, others' when it was last asked.

        The share of its cache in use decides between equals; with a full cache, each counts double.
        """
        requests = self._others + len(self._visits)
        return requests * (2 if self._cache_use > _FULL_CACHE else 1) + self._cache_use

    def first_token_s(self, tokens: int) -> float:
        """Return in how many seconds the first token of a prompt of that length is to be expected.

        0 where nothing was seen for half a minute: an old measurement must not send everybody away
        for ever.
        """
        now = time.monotonic()
        waited = max((now - visit.since for visit in self._unread), default=0.0)
        if now - self._last_sample > _TRUST_S:
            return waited
        return max(waited, self._times.expect(self._ahead() + tokens))

    def begin(self, tokens: int) -> Visit:
        """Count a request that is sent; it must `end`."""
        ahead = self._ahead() + tokens
        visit = Visit(tokens, ahead, time.monotonic(), self._shares.begin())
        self._visits.add(visit)
        self._unread.add(visit)
        return visit

    def first_token(self, visit: Visit) -> None:
        """Learn from a first token."""
        self._unread.discard(visit)
        self._last_sample = time.monotonic()
        self._times.record(visit.ahead, self._last_sample - visit.since)

    def end(self, visit: Visit) -> int:
        """Count the request no more; return its nanoseconds of the replica."""
        self._visits.discard(visit)
        self._unread.discard(visit)
        return self._shares.end(visit.share)

    async def look(self) -> None:
        """Ask how it is. Whoever is only slow stays up: it may be busy."""
        try:
            up = await self._is_up()
            if up:
                await self._measure()
        except TimeoutError:
            return
        except (aiohttp.ClientError, OSError, ValueError):
            up = False
        if up and not self.up:
            self.breaker.reset()
        self.up = up
        if not up:
            self.model = ""

    async def _is_up(self) -> bool:
        async with self._get("/health") as answer:
            # Servers other than vLLM may have no such page.
            return answer.status in (200, 404)

    async def _measure(self) -> None:
        if not self.model:
            async with self._get("/v1/models") as answer:
                first = _decode_models(await answer.read()).data[:1]
            for model in first:
                self.model, self.context = model.id, model.max_model_len
        ours, ours_unread = len(self._visits), len(self._unread)
        async with self._get("/metrics") as answer:
            text = await answer.text() if answer.status == 200 else ""
        told: dict[str, float] = {}
        for name, value in _METRIC.findall(text):
            told[name] = told.get(name, 0.0) + float(value)
        waiting = told.get("num_requests_waiting", 0.0)
        self._others = max(told.get("num_requests_running", 0.0) + waiting - ours, 0.0)
        self._others_waiting = max(waiting - ours_unread, 0.0)
        self._cache_use = told.get("kv_cache_usage_perc", 0.0)

    def _ahead(self) -> float:
        """Return how many tokens are to be read before a request that comes now."""
        ours = sum(visit.tokens for visit in self._unread)
        return ours + self._others_waiting * self._times.mean_tokens

    def _get(self, path: str) -> "aiohttp.client._RequestContextManager":
        return self._looking.get(
            self._root + path, headers=self.headers, timeout=_TRY, allow_redirects=False
        )
