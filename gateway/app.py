"""The composition root: settings in, application out."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from litestar import Litestar, Request
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide

from config.settings import Settings
from gateway.auditing import begin_audit
from gateway.bare import bare_first
from gateway.bodies import check_text
from gateway.errors import HANDLERS
from gateway.exchanges import begin_exchanges, operators_apart
from gateway.govern.masking.hide import Hider
from gateway.govern.masking.policy import Policy
from gateway.guards import authenticate, check_every_route_is_declared, provide_caller
from gateway.head_requests import with_head
from gateway.lifespan import Services, open_services
from gateway.observe.exporting import exporting
from gateway.observe.process import process_name
from gateway.observe.tracing import Tracing
from gateway.openapi import Document, openapi_config
from gateway.parameters import check_parameters, note_parameters
from gateway.paths import keep_slashes
from gateway.reload import refused_file
from gateway.routes import (
    admin,
    agent_chat,
    agent_versions,
    agents,
    chat,
    completions,
    conversations,
    embeddings,
    feedback,
    file_batches,
    health,
    metrics,
    models,
    oauth,
    pais,
    reindex,
    rerank,
    responses,
    sessions,
    sources,
    store_files,
    store_search,
    traces,
    vector_stores,
)
from gateway.routes.files import files_router
from gateway.schemas import StructSchemas
from gateway.stamps import with_stamps


def create_app(
    settings: Settings,
    sockets: Path,
    *,
    engines: Mapping[str, Sequence[str]] = MappingProxyType({}),
    starting: Path | None = None,
) -> Litestar:
    """Return the application; its stores, and the other processes, are opened when it starts.

    `sockets` is the folder where the embedding and reranking workers listen, `engines` says where
    the engines of the parent process do, `starting` which file is there until they were up.
    """
    tracing = Tracing(settings.telemetry, Hider(Policy.of(settings.masking.logs)).whole)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        opening = open_services(
            settings, sockets, engines=engines, starting=starting, tracing=tracing
        )
        exported = exporting(tracing, settings.telemetry, process_name())
        async with exported, opening as services:
            app.state.services = services
            yield

    app = Litestar(
        route_handlers=[
            *(health.live, health.ready, metrics.scrape),
            *oauth.HANDLERS,
            *models.HANDLERS,
            *chat.HANDLERS,
            *completions.HANDLERS,
            *responses.HANDLERS,
            conversations.ROUTER,
            *embeddings.HANDLERS,
            *rerank.HANDLERS,
            *agents.HANDLERS,
            agent_versions.ROUTER,
            pais.ROUTER,
            *agent_chat.HANDLERS,
            sessions.ROUTER,
            *traces.HANDLERS,
            *feedback.HANDLERS,
            feedback.ADMIN,
            files_router(settings.server.max_file_bytes),
            *(vector_stores.ROUTER, store_files.ROUTER),
            *(file_batches.ROUTER, store_search.ROUTER, sources.ROUTER, reindex.ROUTER),
            *admin.ROUTERS,
        ],
        guards=[authenticate],
        dependencies={
            "caller": Provide(provide_caller),
            "services": Provide(_provide_services, sync_to_thread=False),
        },
        before_request=_begin,
        exception_handlers=HANDLERS,
        request_max_body_size=settings.server.max_body_bytes,
        lifespan=[lifespan],
        openapi_config=openapi_config(settings.issuer),
        plugins=[StructSchemas()],
        on_app_init=[_without_logging],
    )
    app.state.refused = refused_file(sockets)
    answering = bare_first(app, with_head(keep_slashes(app.asgi_handler)))
    stamped = with_stamps(answering, timed=settings.telemetry.server_timing)
    app.asgi_handler = begin_exchanges(stamped, tracing)
    if settings.telemetry.metrics_port:
        app.asgi_handler = operators_apart(app.asgi_handler, settings.telemetry.metrics_port)
    check_every_route_is_declared(app)
    note_parameters(app)
    app.state.document = Document(app)
    return app


def _without_logging(config: AppConfig) -> AppConfig:
    """The process configures logging, not the application."""
    config.logging_config = None
    return config


def _provide_services(state: State) -> Services:
    services: Services = state.services
    return services


async def _begin(request: Request[Any, Any, Any]) -> None:
    await check_text(request)
    check_parameters(request)
    await begin_audit(request)
