"""Large stores: what is found in them, how a store becomes one, and what is left of it."""

import asyncio
import random
import statistics
from collections.abc import AsyncIterator

import asyncpg
import pytest
from large_store import LargeStore, Pointer, add_chunks, grow, make_store, questions
from support import scope_of

import rag
from config.postgres import open_pool, tenant_transaction
from config.settings import RetrievalSettings
from rag import legs
from rag.jobs import Job
from rag.paging import Cursor
from rag.shards import Shards

ACME = scope_of("acme")
MODEL = Pointer()
LEGS = {"words": 0.0, "meaning": 1.0, "both": 0.5}


async def ask(
    pool: asyncpg.Pool,
    store: LargeStore,
    question: str,
    *,
    k: int = 10,
    wanted: rag.Filter | None = None,
    leg: str = "both",
    exact: bool = False,
) -> list[str]:
    options = rag.SearchOptions(dense_weight=LEGS[leg], exact=exact)
    found = await rag.search(
        pool, MODEL, ACME, [store.id], question, k=k, filter=wanted, options=options
    )
    return [passage.chunk_id for passage in found.passages]


@pytest.fixture
async def jobs(pool: asyncpg.Pool, empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    async with await open_pool(empty_database, size=3, role="naru_jobs") as opened:
        yield opened


@pytest.fixture
async def large(pool: asyncpg.Pool, owner: asyncpg.Connection) -> LargeStore:
    """2,000 chunks in partitions of their own."""
    store = await make_store(pool, owner, 2_000)
    await grow(pool, store)
    return store


def filters(rng: random.Random) -> dict[str, rag.Filter | None]:
    """Filters by what they leave: without regard to the vectors, and whole clusters."""
    clusters: list[str | float | bool] = list(rng.sample(range(40), 20))
    return {
        "100 %": None,
        "50 %": rag.Comparison("tenth", "in", list(rng.sample(range(10), 5))),
        "50 % in clusters": rag.Comparison("cluster", "in", clusters),
        "10 %": rag.Comparison("tenth", "eq", rng.randrange(10)),
        "1 %": rag.Comparison("hundredth", "eq", rng.randrange(100)),
        "0.1 %": rag.Comparison("thousandth", "eq", rng.randrange(1, 400)),
    }


async def eligible(owner: asyncpg.Connection, wanted: rag.Filter | None) -> int:
    everything = wanted or rag.Comparison("no such key", "ne", 0)
    condition = rag.filters.compile_filter(everything, column="f.attributes", first=1)
    chunks: int = await owner.fetchval(
        "SELECT coalesce(sum(d.chunk_count), 0) FROM store_files f"
        f" JOIN documents d USING (store_id, file_id) WHERE {condition.sql}",
        *condition.arguments,
    )
    return chunks


@pytest.mark.parametrize("size", [1_000, 10_000, 50_000])
async def test_a_large_store_gives_as_many_rows_as_there_are_and_the_best_ones(
    pool: asyncpg.Pool, owner: asyncpg.Connection, size: int
) -> None:
    store = await make_store(pool, owner, size)
    await grow(pool, store)
    assert await owner.fetchval("SELECT shard FROM indexes") > 0
    rng = random.Random(size)
    recall: dict[tuple[str, str], list[float]] = {}
    for question in questions(6, seed=size):
        for share, wanted in filters(rng).items():
            k = rng.choice([1, 10, 50])
            there = await eligible(owner, wanted)
            assert len(await ask(pool, store, question, k=k, wanted=wanted)) == min(k, there)
            for leg in ("words", "meaning"):
                got = set(await ask(pool, store, question, wanted=wanted, leg=leg))
                best = set(await ask(pool, store, question, wanted=wanted, leg=leg, exact=True))
                kept = len(got & best) / len(best) if best else 1.0
                recall.setdefault((leg, share), []).append(kept)
    means = {case: statistics.mean(values) for case, values in recall.items()}
    assert min(means.values()) >= 0.97, means


async def test_where_graph_and_postings_give_too_few_rows_all_are_read(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    large: LargeStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(legs, "_SCANNED_BY_WORDS", 0)
    monkeypatch.setattr(legs, "_SCANNED_BY_MEANING", 0)
    for share, wanted in filters(random.Random(3)).items():
        there = await eligible(owner, wanted)
        for question in questions(4):
            found = await ask(pool, large, question, k=50, wanted=wanted)
            assert len(found) == min(50, there), share


async def test_the_graph_and_the_postings_are_what_is_asked(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    store = await make_store(pool, owner, 10_000)
    await grow(pool, store)
    plans: list[str] = []

    class Explaining:
        def __init__(self, con: asyncpg.Connection) -> None:
            self.con = con

        async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
            rows = await self.con.fetch(f"EXPLAIN {query}", *arguments)
            plans.append("\n".join(row[0] for row in rows))
            found: list[asyncpg.Record] = await self.con.fetch(query, *arguments)
            return found

    words = legs.Words("{1:1}/1000000000", [(1, 5, 1.0)])
    vector = MODEL._vector("@2")
    for _ in range(7):  # a statement that was run often may get a plan for any values
        async with tenant_transaction(pool, "acme", snapshot=True) as con:
            indexes = await legs.live_indexes(con, ACME, [store.id])
            (part,) = legs.parts_of(indexes, None, 20, exact=False)
            explained: asyncpg.Connection = Explaining(con)  # type: ignore[assignment]
            await legs.by_words(explained, part, words)
            await legs.by_meaning(explained, part, vector)
    posted, near = plans[-2:]
    assert "chunk_postings_1_pkey" in posted
    assert "chunk_embeddings_1_graph" in near
    assert "chunk_embeddings_0" not in near + posted


async def test_building_locks_nobody_out(
    pool: asyncpg.Pool, owner: asyncpg.Connection, jobs: asyncpg.Pool
) -> None:
    store = await make_store(pool, owner, 2_000)
    other = await make_store(pool, owner, 100)
    question = questions(1)[0]
    before = await ask(pool, store, question)
    shards = Shards(jobs, RetrievalSettings())
    number = await shards._run("acme", "make_shard", store.index)
    async with tenant_transaction(jobs, "acme") as building:
        await building.execute("SELECT copy_to_shard($1, $2)", store.index, number)
        await building.execute("SELECT post_chunks($1, 0, 2000)", number)
        await building.execute("SELECT build_graph($1)", number)
        async with asyncio.timeout(10):  # all of it while the building transaction is open
            assert await ask(pool, store, question) == before
            await remove_one(pool, store)
            await remove_one(pool, other)
            await write(owner, store, 5)
            await write(owner, other, 5)
        await building.execute(
            "UPDATE indexes SET last_posted = 2000, posted = 2000, segments = 1 WHERE id = $1",
            store.index,
        )
    await grow(pool, store)
    assert await count(owner, store, "shard > 0") == (2_000, 2_000)
    assert await count(owner, store, "shard = 0") == (0, 0)


async def remove_one(pool: asyncpg.Pool, store: LargeStore) -> str:
    (file,) = await rag.list_store_files(pool, ACME, store.id, Cursor(limit=1))
    await rag.remove_file(pool, ACME, store.id, file.id)
    return file.id


async def write(owner: asyncpg.Connection, store: LargeStore, chunks: int) -> None:
    async with owner.transaction():
        await owner.execute("SELECT set_config('naru.tenant', 'acme', true)")
        await owner.execute("SELECT FROM indexes WHERE id = $1 FOR NO KEY UPDATE", store.index)
        await add_chunks(owner, store.id, store.index, chunks)


async def count(owner: asyncpg.Connection, store: LargeStore, where: str) -> tuple[int, ...]:
    query = "SELECT count(*) FROM {} WHERE index_id = $1 AND {}".format
    legs = "chunk_terms", "chunk_embeddings"
    return tuple([await owner.fetchval(query(leg, where), store.index) for leg in legs])


async def test_while_a_store_moves_every_search_finds_what_it_found_before(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    store = await make_store(pool, owner, 2_000)
    asked = questions(3)
    before = [await ask(pool, store, question, exact=True) for question in asked]
    done = asyncio.Event()

    async def searching() -> int:
        rounds = 0
        while not done.is_set():
            now = [await ask(pool, store, question, exact=True) for question in asked]
            assert now == before
            rounds += 1
        return rounds

    searches = [asyncio.create_task(searching()) for _ in range(3)]
    try:
        await grow(pool, store)
    finally:
        done.set()
        rounds = await asyncio.gather(*searches)
    assert min(rounds) > 0
    assert await owner.fetchval("SELECT shard FROM indexes") > 0


async def test_a_move_gives_way_to_whoever_holds_the_documents(
    pool: asyncpg.Pool, owner: asyncpg.Connection, jobs: asyncpg.Pool
) -> None:
    store = await make_store(pool, owner, 500)
    shards = Shards(jobs, RetrievalSettings(large_index_chunks=1))
    async with owner.transaction():
        await owner.execute("LOCK TABLE documents IN ROW EXCLUSIVE MODE")
        moving = asyncio.create_task(shards.grow(Job("acme", {"index": store.index})))
        for _ in range(5):
            async with asyncio.timeout(5):
                await ask(pool, store, questions(1)[0])
                await remove_one(pool, store)
        assert not moving.done()
        assert await owner.fetchval("SELECT shard FROM indexes") == 0
    await moving
    assert await owner.fetchval("SELECT shard FROM indexes") > 0
    assert await count(owner, store, "shard > 0") == (475, 475)


STEPS = ["make_shard", "tie_shard", "validate_shard", "attach_shard"]


@pytest.mark.parametrize("cut_off_after", ["fill", *STEPS])
async def test_a_move_that_was_cut_off_goes_on_where_it_was(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    cut_off_after: str,
) -> None:
    class Crash(Exception):
        pass

    run, fill = Shards._run, Shards._fill

    async def crashing_run(self: Shards, tenant: str, name: str, *arguments: int) -> int | None:
        result = await run(self, tenant, name, *arguments)
        if name == cut_off_after:
            raise Crash
        return result

    async def crashing_fill(self: Shards, *arguments: object) -> None:
        await fill(self, *arguments)  # type: ignore[arg-type]
        if cut_off_after == "fill":
            raise Crash

    store = await make_store(pool, owner, 500)
    before = [await ask(pool, store, question) for question in questions(3)]
    with monkeypatch.context() as patched:
        patched.setattr(Shards, "_run", crashing_run)
        patched.setattr(Shards, "_fill", crashing_fill)
        with pytest.raises(Crash):
            await grow(pool, store)
    assert [await ask(pool, store, question) for question in questions(3)] == before
    await grow(pool, store)
    assert [await ask(pool, store, question) for question in questions(3)] == before
    assert await count(owner, store, "shard > 0") == (500, 500)
    assert await count(owner, store, "shard = 0") == (0, 0)
    assert await owner.fetchval("SELECT last_value FROM shard_numbers") == 1


async def test_what_is_written_later_is_found_at_once_and_posted_when_it_is_much(
    pool: asyncpg.Pool, owner: asyncpg.Connection, large: LargeStore
) -> None:
    async def agrees() -> None:
        for question in questions(4):
            for leg in LEGS:
                got = await ask(pool, large, question, leg=leg)
                assert got == await ask(pool, large, question, leg=leg, exact=True)

    state = "SELECT segments, posted FROM indexes"
    await write(owner, large, 500)
    await agrees()
    await grow(pool, large)
    assert tuple(await owner.fetchrow(state)) == (1, 2_000)
    await write(owner, large, 600)
    await grow(pool, large)
    assert tuple(await owner.fetchrow(state)) == (2, 3_100)
    await agrees()


async def test_postings_of_which_much_is_gone_are_written_anew(
    pool: asyncpg.Pool, owner: asyncpg.Connection, large: LargeStore
) -> None:
    for file in (await rag.list_store_files(pool, ACME, large.id, Cursor(limit=100)))[:99]:
        await rag.remove_file(pool, ACME, large.id, file.id)
    await owner.execute("DELETE FROM documents WHERE id % 2 = 0")
    left = await owner.fetchval("SELECT count(*) FROM chunks")
    await grow(pool, large)
    assert tuple(await owner.fetchrow("SELECT segments, posted FROM indexes")) == (1, left)
    for question in questions(4):
        assert await ask(pool, large, question) == await ask(pool, large, question, exact=True)


async def test_a_deleted_document_is_never_found_after_its_deletion_returned(
    pool: asyncpg.Pool, large: LargeStore
) -> None:
    gone: set[str] = set()
    asked = questions(8)
    done = asyncio.Event()

    async def searching(seed: int) -> None:
        while not done.is_set():
            before = set(gone)
            found = await ask(pool, large, asked[seed], k=50)
            assert not {chunk.split("#")[0] for chunk in found} & before
            await asyncio.sleep(0)

    searches = [asyncio.create_task(searching(n)) for n in range(3)]
    try:
        for file in await rag.list_store_files(pool, ACME, large.id, Cursor(limit=40)):
            await rag.remove_file(pool, ACME, large.id, file.id)
            gone.add(file.id)
    finally:
        done.set()
        await asyncio.gather(*searches)
    assert len(gone) == 40


async def partitions(owner: asyncpg.Connection) -> list[str]:
    rows = await owner.fetch(
        "SELECT inhrelid::regclass::text AS name"
        " FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
        " WHERE c.relkind = 'r' AND c.relname !~ '_0$' ORDER BY 1"
    )
    return [row["name"] for row in rows]


async def test_a_deleted_store_leaves_no_partitions(
    pool: asyncpg.Pool, owner: asyncpg.Connection, jobs: asyncpg.Pool, large: LargeStore
) -> None:
    assert len(await partitions(owner)) == 3
    shards = Shards(jobs, RetrievalSettings())
    drop = Job("acme", {"shard": 1})
    await shards.drop(drop)
    assert len(await partitions(owner)) == 3, "it is in use"
    await rag.delete_store(pool, ACME, large.id)
    queued = await owner.fetch(
        "SELECT convert_from(payload, 'UTF8')::jsonb ->> 'tenant' AS tenant FROM pgqueuer"
        " WHERE entrypoint = 'drop_shard' AND dedupe_key = 'drop_shard:1'"
    )
    assert [row["tenant"] for row in queued] == ["acme"]
    await shards.drop(drop)
    await shards.drop(drop)
    assert await partitions(owner) == []
    assert await owner.fetchval("SELECT to_regclass('chunk_terms_1')") is None


async def test_partitions_stand_behind_the_policies_and_only_the_job_worker_makes_them(
    pool: asyncpg.Pool, owner: asyncpg.Connection, large: LargeStore
) -> None:
    for name in await partitions(owner):
        row = await owner.fetchrow(
            "SELECT relrowsecurity, relforcerowsecurity, (SELECT count(*) FROM pg_policy"
            " WHERE polrelid = c.oid) FROM pg_class c WHERE oid = $1::regclass",
            name,
        )
        assert tuple(row) == (True, True, 1), name
        for role in ("naru_app", "naru_jobs", "naru_auth"):
            right = "SELECT has_table_privilege($1, $2, 'SELECT')"
            assert not await owner.fetchval(right, role, name), (role, name)
    makers = "prosecdef AND proname ~ '_shard$|^post_chunks$|^build_graph$'"
    for role, may in [("naru_jobs", True), ("naru_app", False), ("naru_auth", False)]:
        right = f"SELECT has_function_privilege('{role}', oid, 'EXECUTE') FROM pg_proc"
        rows = await owner.fetch(f"{right} WHERE {makers}")
        assert [row[0] for row in rows] == [may] * 8
    async with tenant_transaction(pool, "rival") as con:
        for leg in ("chunk_terms", "chunk_embeddings", "chunk_postings"):
            assert await con.fetchval(f"SELECT count(*) FROM {leg}") == 0


async def test_documents_written_ask_for_one_look_at_their_index(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    store = await make_store(pool, owner, 100)
    rows = await owner.fetch(
        "SELECT convert_from(payload, 'UTF8')::jsonb #>> '{payload,index}' AS index FROM pgqueuer"
        " WHERE entrypoint = 'grow_index'"
    )
    assert [row["index"] for row in rows] == [str(store.index)]


async def test_a_store_that_is_not_large_stays_where_it_is(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    store = await make_store(pool, owner, 100)
    await grow(pool, store, large=101)
    assert await owner.fetchval("SELECT shard FROM indexes") == 0
    await grow(pool, store, large=100)
    assert await owner.fetchval("SELECT shard FROM indexes") == 1
