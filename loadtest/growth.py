"""How what is asked grows with what is there: `make bench-growth` (ARGS="--quick").

One curve each for the size of a body, the messages in it, and how many tenants, sessions, vector
stores and agents there are. Rows are copies of one that the service made. A cost that does not
depend on the number stays where it was; what grows is told by its exponent: 1 is as fast as the
number, 0 not at all.
"""

import argparse
import asyncio
import itertools
import json
import math
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from load import Target, percentile
from measures import body, saturate
from report import number
from rig import MODEL, Gateway, Naru, prepare, run_mock, run_naru

from auth.registration import create_key
from auth.secrets import SecretBox
from config import embedded
from config.postgres import open_pool
from config.settings import AuthSettings

_AT_ONCE = 4
_KEYS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Point:
    """What a request costs with so much of it: of the web worker, and for who waits."""

    count: int
    cpu_us: float
    ms: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A cost by a number."""

    name: str
    points: Sequence[Point]

    @property
    def exponent(self) -> float:
        """Return how fast the CPU time grows over the last step: 0 not at all, 1 in proportion."""
        before, after = self.points[-2:]
        return math.log(after.cpu_us / before.cpu_us) / math.log(after.count / before.count)

    def show(self) -> None:
        """Print it."""
        print(f"{self.name}: exponent {self.exponent:.2f} at the end")
        for point in self.points:
            print(
                f"  {point.count:>9,} {number(point.cpu_us):>9} µs of CPU,"
                f" p50 {number(point.ms):>7} ms"
            )


class Rows:
    """Copies of rows, straight in the database."""

    def __init__(self, url: str) -> None:
        """`url` is the owner's."""
        self._url = url
        self._made: dict[str, int] = {}

    async def copy(self, table: str, row: str, count: int, **columns: str) -> None:
        """Copy the row for which `row` holds until there are `count` copies.

        `columns` are expressions in `n`, the copy's number, for what tells the copies apart.
        """
        first = self._made.get(table, 0) + 1
        changed = ", ".join(f"'{name}', {value}" for name, value in columns.items())
        con = await asyncpg.connect(self._url)
        try:
            await con.execute("SELECT set_config('naru.tenant', 'demo', false)")
            await con.execute(
                f"INSERT INTO {table} OVERRIDING SYSTEM VALUE"
                f" SELECT (jsonb_populate_record(one.t, jsonb_build_object({changed}))).*"
                f" FROM (SELECT t FROM {table} t WHERE {row} LIMIT 1) one,"
                " generate_series($1::integer, $2::integer) n",
                first,
                count,
                timeout=600,
            )
            await con.execute(f"ANALYZE {table}")
        finally:
            await con.close()
        self._made[table] = max(count, first - 1)


class Growth:
    """Measures the curves on one running service."""

    def __init__(self, naru: Naru, data_dir: Path, seconds: float) -> None:
        self._naru, self._seconds = naru, seconds
        self._data_dir = data_dir
        self._database = embedded.postgres_url(embedded.runtime_path(data_dir))
        self._rows = Rows(self._database)
        self._keys: list[str] = []

    @property
    def _gateway(self) -> Gateway:
        return self._naru.gateway

    def _url(self, path: str) -> str:
        return self._gateway.url + path

    def _point(self, count: int, asked: Target) -> Point:
        saturate(self._gateway, asked, _AT_ONCE, self._seconds / 4)
        cost = saturate(self._gateway, asked, _AT_ONCE, self._seconds)
        assert not cost.result.failures, cost.result.failures
        return Point(count, cost.cpu_us_per_answer, 1000 * percentile(cost.result.latencies, 0.5))

    def _curve(
        self,
        name: str,
        counts: Iterable[int],
        asked: Callable[[int], Target],
        prepare: Callable[[int], Coroutine[None, None, None]] | None = None,
    ) -> Curve:
        points = []
        for count in counts:
            if prepare:
                asyncio.run(prepare(count))
            points.append(self._point(count, asked(count)))
        return Curve(name, points)

    def bodies(self, counts: Iterable[int]) -> Curve:
        """Return the curve of a body's bytes."""
        return self._curve("bytes of a body", counts, lambda n: self._chat([body(MODEL, n)]))

    def messages(self, counts: Iterable[int]) -> Curve:
        """Return the curve of a conversation's messages, 100 bytes each."""

        def asked(count: int) -> Target:
            roles = itertools.cycle(("user", "assistant"))
            said = [{"role": next(roles), "content": "x" * 100} for _ in range(count)]
            said[-1]["role"] = "user"
            return self._chat([json.dumps({"model": MODEL, "messages": said}).encode()])

        return self._curve("messages of 100 bytes", counts, asked)

    def tenants(self, counts: Iterable[int]) -> Curve:
        """Return the curve of tenants that ask in turn, each with a client and a key."""
        chat = self._url("/v1/chat/completions")

        def asked(count: int) -> Target:
            keys = self._keys[:count]
            return Target.posts(
                chat, [(body(MODEL), {"authorization": f"Bearer {key}"}) for key in keys]
            )

        return self._curve("tenants that ask in turn", counts, asked, self._make_tenants)

    def sessions(self, counts: Iterable[int]) -> Curve:
        """Return the curve of sessions of one client, whose agent is asked in one of them."""

        async def prepare(count: int) -> None:
            await self._rows.copy("sessions", "id = 'seed'", count, id="'copy-' || n")

        self._turn("seed")
        return self._curve("sessions; a turn in one", counts, lambda _: self._turns(), prepare)

    def stores(self, counts: Iterable[int]) -> Curve:
        """Return the curve of vector stores, one of which is searched."""
        store = self._naru.env["NARU_STORE"]

        async def prepare(count: int) -> None:
            await self._rows.copy("vector_stores", f"id = '{store}'", count, id="'vs_copy' || n")

        path = self._url(f"/v1/vector_stores/{store}/search")
        asked = Target.post(path, b'{"query": "annual leave"}', self._gateway.headers)
        return self._curve("vector stores; a search in one", counts, lambda _: asked, prepare)

    def agents(self, counts: Iterable[int]) -> Curve:
        """Return the curve of agents, one of which is asked."""

        async def prepare(count: int) -> None:
            await self._rows.copy("agents", "name = 'hr-assistant'", count, name="'copy-' || n")
            await self._rows.copy(
                "agent_versions", "agent = 'hr-assistant'", count, agent="'copy-' || n"
            )

        return self._curve("agents; a turn with one", counts, lambda _: self._turns(), prepare)

    def _chat(self, bodies: Sequence[bytes]) -> Target:
        path = self._url("/v1/chat/completions")
        return Target.posts(path, [(each, self._gateway.headers) for each in bodies])

    def _turn(self, session: str) -> None:
        saturate(self._gateway, self._asked_in([session]), 1, 1.0)

    def _turns(self) -> Target:
        return self._asked_in([f"bench-{number}" for number in range(200)])

    def _asked_in(self, sessions: Sequence[str]) -> Target:
        agent = self._naru.env["NARU_AGENT"]
        message = "How many days of annual leave?"
        bodies = [json.dumps({"message": message, "session_id": each}) for each in sessions]
        asked = [(each.encode(), self._gateway.headers) for each in bodies]
        return Target.posts(self._url(f"/v1/agents/{agent}/chat"), asked)

    async def _make_tenants(self, count: int) -> None:
        """Make tenants with a client and a key each until there are so many."""
        await self._rows.copy("tenants", "id = 'demo'", count, id="'copy-' || n")
        await self._rows.copy(
            "clients", "tenant = 'demo'", count, id="'copy-' || n", tenant="'copy-' || n"
        )
        box = SecretBox.load(AuthSettings(), self._data_dir)
        async with await open_pool(self._database, size=_KEYS_AT_ONCE, role="naru_auth") as pool:
            while missing := range(len(self._keys) + 1, count + 1)[:_KEYS_AT_ONCE]:
                made = await asyncio.gather(*(create_key(pool, box, f"copy-{n}") for n in missing))
                self._keys += [each.key for each in made]


def steps(most: int, factor: int = 10) -> list[int]:
    """Return 1, `factor`, `factor`² … up to `most`, which is the last."""
    found = [1]
    while found[-1] * factor < most:
        found.append(found[-1] * factor)
    return [*found, most]


def main() -> None:
    """Measure and print every curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of most, for a first look")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each point")
    arguments = parser.parse_args()
    share = 10 if arguments.quick else 1
    prepare()
    with (
        tempfile.TemporaryDirectory(prefix="naru-growth-") as folder,
        run_mock() as mock,
        run_naru(Path(folder), mock.url) as naru,
    ):
        growth = Growth(naru, Path(folder) / "data", arguments.seconds)
        for curve, counts in (
            (growth.bodies, [200 * count for count in steps(10_000 // share)]),
            (growth.messages, steps(2_000 // share)),
            (growth.tenants, steps(10_000 // share)),
            (growth.sessions, steps(1_000_000 // share)),
            (growth.stores, steps(2_000 // share)),
            (growth.agents, steps(1_000 // share)),
        ):
            curve(counts).show()


if __name__ == "__main__":
    main()
