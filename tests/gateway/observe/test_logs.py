"""What our processes write: nobody's personal data, in whatever line."""

import datetime as dt
import json
import logging
import subprocess
import sys

import pytest

from gateway.govern.charge import Exchange, begin_exchange
from gateway.govern.masking.policy import Policy
from gateway.observe.logs import JsonFormatter, MaskingFormatter
from gateway.observe.propagation import Trace

SECRET = "900101-1234567"


def _record(message: str, *args: object, error: Exception | None = None) -> logging.LogRecord:
    failed = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("gateway.x", logging.WARNING, __file__, 1, message, args, failed)


def test_a_line_is_masked_with_its_arguments_and_its_traceback() -> None:
    error = ValueError(f"no such number: {SECRET}")
    line = MaskingFormatter().format(_record("user %s", "hong@example.com", error=error))
    assert line.startswith("WARNING gateway.x: user [EMAIL]\nValueError")
    assert "no such number: [RESIDENT]" in line
    assert SECRET not in line


def test_a_policy_may_allow_a_kind() -> None:
    formatter = MaskingFormatter(Policy.of({"default": "mask", "email": "allow"}))
    line = formatter.format(_record(f"hong@example.com {SECRET}"))
    assert line == "WARNING gateway.x: hong@example.com [RESIDENT]"


def test_a_line_that_can_not_be_masked_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise KeyError

    monkeypatch.setattr("gateway.observe.logs.Hider.whole", broken)
    line = MaskingFormatter().format(_record(SECRET))
    assert line == "WARNING gateway.x: line withheld (KeyError)"


def _said(style: str) -> list[str]:
    code = (
        "import logging; from gateway.observe.logs import configure_logging as go; "
        f"go(); go(style='{style}'); "
        f"[logging.getLogger(n).error('{SECRET}') for n in ('gateway', 'uvicorn.error', 'asyncio')]"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ran.stderr.splitlines()


def test_every_logger_of_a_process_is_behind_it() -> None:
    assert _said("pretty") == [
        f"ERROR {name}: [RESIDENT]" for name in ("gateway", "uvicorn.error", "asyncio")
    ]


def test_where_nobody_reads_along_lines_are_json() -> None:
    lines = [json.loads(line) for line in _said("auto")]
    assert [line["logger"] for line in lines] == ["gateway", "uvicorn.error", "asyncio"]
    assert {line["message"] for line in lines} == {"[RESIDENT]"}
    assert dt.datetime.fromisoformat(lines[0]["time"]).tzinfo
    assert lines[0].keys() == {"time", "level", "logger", "process", "message"}


def test_a_json_line_says_which_request_it_is_about() -> None:
    error = ValueError(f"no such number: {SECRET}")
    begin_exchange(Exchange("req-1", trace=Trace(0x0AF7651916CD43DD8448EB211C80319C)))
    try:
        line = JsonFormatter().format(_record("user %s\n", "hong@example.com", error=error))
    finally:
        begin_exchange(Exchange())
    assert "\n" not in line
    told = json.loads(line)
    assert told["request_id"] == "req-1"
    assert told["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert told["level"] == "warning"
    assert told["message"] == "user [EMAIL]\n"
    assert told["exception"].endswith("ValueError: no such number: [RESIDENT]")


def test_a_json_line_that_can_not_be_masked_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise KeyError

    monkeypatch.setattr("gateway.observe.logs.Hider.whole", broken)
    told = json.loads(JsonFormatter().format(_record(SECRET)))
    assert told["message"] == "line withheld (KeyError)"
    assert SECRET not in str(told)
