"""All background work on knowledge: who does which kind of job."""

import asyncio

import asyncpg

from config.settings import RetrievalSettings
from config.tasks import end_task
from rag.context import ContextWriter
from rag.embed import Embedders
from rag.expiry import Expiry
from rag.ingest import Reader
from rag.job_queue import run
from rag.jobs import Jobs
from rag.parse.apart import open_parser
from rag.prepare import Preparer
from rag.rebuild import Rebuilder
from rag.shards import Shards
from rag.storage import IN_POSTGRES, Storage
from rag.stray_objects import StrayObjects
from rag.watch import Watch


async def run_jobs(
    pool: asyncpg.Pool,
    embedders: Embedders,
    settings: RetrievalSettings,
    stop: asyncio.Event,
    jobs: Jobs | None = None,
    storage: Storage = IN_POSTGRES,
    writer: ContextWriter | None = None,
) -> None:
    """Do this package's jobs, and those of `jobs`, until `stop` is set.

    What is under way then is given back to the queue. The pool works as `naru_jobs`.
    """
    jobs = jobs or Jobs()
    watch = Watch(pool)
    async with open_parser() as parser:
        preparer = Preparer(pool, parser, settings, storage, writer)
        Reader(pool, embedders, preparer, watch, settings).register(jobs)
        Rebuilder(pool, embedders, preparer, settings).register(jobs)
        Expiry(pool).register(jobs)
        Shards(pool, settings).register(jobs)
        if storage.bucket:
            StrayObjects(pool, storage.bucket).register(jobs)
        watching = asyncio.create_task(watch.run())
        try:
            await run(pool, jobs, stop)
        finally:
            await preparer.close()
            await end_task(watching)
