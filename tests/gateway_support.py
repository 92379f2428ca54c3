"""What the tests of the web application share."""

from dataclasses import dataclass

import httpx

from auth import NewClient

AWAY = "http://127.0.0.1:9/issuer"
"""A trusted issuer that nobody answers for."""


@dataclass(frozen=True)
class Service:
    """A running service and its callers' credentials."""

    url: str
    database: str
    client: NewClient
    key: str
    colleague_key: str
    stranger_key: str
    reader_key: str
    librarian_key: str
    limited_key: str
    store: str


def client_of(service: Service, key: str | None) -> httpx.AsyncClient:
    """Return an HTTP client that sends `key`."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30)
