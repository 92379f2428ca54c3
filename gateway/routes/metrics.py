"""`GET /metrics`, for Prometheus."""

from typing import Any

from litestar import MediaType, Request, Response, get

from gateway.guards import PUBLIC
from gateway.lifespan import Provided


@get(
    "/metrics",
    opt=PUBLIC,
    media_type=MediaType.TEXT,
    tags=["health"],
    operation_id="metrics",
)
async def scrape(request: Request[Any, Any, Any], services: Provided) -> Response[bytes]:
    """Tell what all processes of this service have counted, in Prometheus' text format.

    Nothing in it is a tenant's: neither words nor names. Where the settings name a port for
    metrics, they are told there alone.
    """
    told, media_type = await services.metrics.scrape(request.headers.get("accept", ""))
    # It names its charset already; the framework would add one to a text's `media_type`.
    return Response(told, headers={"content-type": media_type})
