"""A gateway in a process of its own, to be killed: `python gateway_child.py SETTINGS SOCKETS`.

SETTINGS is JSON, with `server.port`; SOCKETS the folder where the embedding worker listens.
"""

import json
import sys
from pathlib import Path

import uvicorn

from config.settings import Settings
from gateway.app import create_app


def main() -> None:
    settings = Settings.model_validate(json.loads(sys.argv[1]))
    app = create_app(settings, Path(sys.argv[2]))
    port = settings.server.port
    uvicorn.run(app, host="127.0.0.1", port=port, ws="none", log_level="warning")


if __name__ == "__main__":
    main()
