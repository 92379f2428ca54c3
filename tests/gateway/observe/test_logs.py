"""What our processes write: nobody's personal data, in whatever line."""

import logging
import subprocess
import sys

import pytest

from gateway.govern.masking.policy import Policy
from gateway.observe.logs import MaskingFormatter

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


def test_every_logger_of_a_process_is_behind_it() -> None:
    code = (
        "import logging; from gateway.observe.logs import configure_logging; "
        "configure_logging(); configure_logging(); "
        f"[logging.getLogger(n).error('{SECRET}') for n in ('gateway', 'uvicorn.error', 'asyncio')]"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines() == [
        f"ERROR {name}: [RESIDENT]" for name in ("gateway", "uvicorn.error", "asyncio")
    ]
