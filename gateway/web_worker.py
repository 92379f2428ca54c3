"""A web worker: serves the listening sockets it inherits.

`python -m gateway.web_worker --fd=N [--fd=N] --sign=FILE`; started by the supervisor.
"""

import argparse
import gc
import socket
import sys
from pathlib import Path

import uvicorn
from litestar import Litestar

from config.load import engine_urls, load_settings, model_sockets, starting_file
from config.settings import ServerSettings
from gateway.app import create_app
from gateway.draining import Server
from gateway.govern.masking.policy import Policy
from gateway.http import BoundedProtocol
from gateway.observe.logs import configure_logging
from gateway.observe.publishing import shared_in


def main() -> None:
    """Serve until a signal; `Server` says what that does to open requests."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True, action="append")
    parser.add_argument("--sign", type=Path)
    arguments = parser.parse_args()
    listening = [socket.socket(fileno=descriptor) for descriptor in arguments.fd]
    configure_logging()
    settings = load_settings()
    shared_in(model_sockets()).inherit()
    configure_logging(Policy.of(settings.masking.logs), settings.telemetry.logs)
    app = create_app(settings, model_sockets(), engines=engine_urls(), starting=starting_file())
    # What lives as long as the process is kept out of collections. Requests leave nothing for them:
    # a small one of 10,000 objects mostly finds nothing, and takes 10 ms.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)
    # A thread that computes would have the event loop wait 5 ms for its turn, each time anew.
    sys.setswitchinterval(0.0005)
    server = Server(_configuration(app, settings.server), app, settings.server, arguments.sign)
    server.run(sockets=listening)


def _configuration(app: Litestar, settings: ServerSettings) -> uvicorn.Config:
    """Return how the application is served. What proxies say is believed of trusted ones alone."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        log_config=None,
        log_level="warning",
        backlog=2048,
        timeout_keep_alive=settings.keep_alive_s,
    )


if __name__ == "__main__":
    main()
