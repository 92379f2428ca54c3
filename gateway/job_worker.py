"""The process that parses, embeds and stores documents: `python -m gateway.job_worker`."""

import asyncio
import signal
import sys

import asyncpg
import uvloop

from auth import SecretBox
from config.errors import ConfigError
from config.load import load_settings, model_sockets
from config.postgres import open_pool
from config.settings import Settings
from config.tasks import end_task
from gateway.agents.files import watch_files
from gateway.generation.models import is_configured
from gateway.govern.audit_retention import AuditRetention
from gateway.govern.masking.policy import Policy
from gateway.observe.jobs import CountedJobs
from gateway.observe.logs import configure_logging
from gateway.observe.process import process_name
from gateway.observe.publishing import Published, look_at_pools, shared_in
from rag.context import open_context_writer
from rag.embed import open_embedders
from rag.storage import open_storage
from rag.sync import Limits, Syncer
from rag.worker import run_jobs

_POOL_SIZE = 20


async def work() -> None:
    """Take ingest jobs until SIGTERM or SIGINT.

    Raises:
        ConfigError: This process was not started by `naru serve`.
    """
    settings = load_settings()
    configure_logging(Policy.of(settings.masking.logs), settings.telemetry.logs)
    if settings.database.url is None:
        raise ConfigError("the job worker is started by `naru serve`, which names the database")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    embedders = open_embedders(settings.embedding, model_sockets())
    writer = open_context_writer(settings.retrieval.context)
    try:
        url = settings.database.url.get_secret_value()
        async with await open_pool(url, size=_POOL_SIZE, role="naru_jobs") as pool:
            jobs = CountedJobs()
            storage = open_storage(settings.files)
            limits = Limits(settings.sync, settings.server.max_file_bytes)
            Syncer(pool, limits, storage).register(jobs)
            shared = shared_in(model_sockets())
            shared.inherit()
            published = Published(shared, process_name(), [look_at_pools(pool)])
            key = SecretBox.load(settings.auth, settings.data_dir).audit_key
            AuditRetention(pool, key, settings.audit).register(jobs)
            watching = asyncio.create_task(_watch_agents(pool, settings))
            try:
                async with published.publishing():
                    await run_jobs(pool, embedders, settings.retrieval, stop, jobs, storage, writer)
            finally:
                await end_task(watching)
    finally:
        await embedders.close()
        if writer:
            await writer.close()


async def _watch_agents(pool: asyncpg.Pool, settings: Settings) -> None:
    known = settings.models, settings.providers, settings.engines
    await watch_files(pool, settings.agents, lambda name: is_configured(name, *known))


def main() -> int:
    """Work until told to stop; return the exit status."""
    configure_logging()
    try:
        uvloop.run(work())
    except ConfigError as error:
        sys.stderr.write(f"naru jobs: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
