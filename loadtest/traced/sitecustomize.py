"""What a web worker of `loadtest/bytecodes.py` begins with: it counts while told by a file.

Python runs this by its name where the folder stands in PYTHONPATH.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_FOLDER = Path(os.environ["BYTECODES_FOLDER"])
_executed: Counter[CodeType] = Counter()
_called: Counter[CodeType] = Counter()


def _trace(frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401 - of its own kind
    if event == "call":
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        _called[frame.f_code] += 1
    elif event == "opcode":
        _executed[frame.f_code] += 1
    return _trace


def _write() -> None:
    rows = [
        (code.co_filename, code.co_firstlineno, code.co_qualname, _called[code], count)
        for code, count in _executed.items()
    ]
    (_FOLDER / "new").write_text(json.dumps(rows), encoding="utf-8")
    (_FOLDER / "new").rename(_FOLDER / "counted")


def _count_when_told() -> None:
    """Look ten times a second, on the thread that serves, whether to begin or to end."""
    import uvicorn  # noqa: PLC0415 - in web workers alone

    tick = uvicorn.Server.on_tick

    async def ticking(server: uvicorn.Server, counter: int) -> bool:
        told = (_FOLDER / "count").exists()
        if told and sys.gettrace() is None:
            sys.settrace(_trace)
        elif not told and sys.gettrace() is not None:
            sys.settrace(None)
            _write()
        return await tick(server, counter)

    uvicorn.Server.on_tick = ticking  # type: ignore[method-assign]


if "gateway.web_worker" in sys.orig_argv:
    _count_when_told()
