"""The examples of docs/engines.md are settings, and vLLM's own parser takes their arguments."""

import json
import re
import subprocess
import sys
from pathlib import Path

from config.load import load_settings
from config.settings import EngineSettings
from gateway.engines import vllm_arguments
from gateway.engines.command import arguments, check_reserved, option

DOCS = Path(__file__).parents[3] / "docs" / "engines.md"

_EACH = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("look", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print()
print(json.dumps([module.look(*each).get("fault") for each in json.loads(sys.argv[2])]))
"""


def test_every_example_can_be_used_as_it_stands(tmp_path: Path) -> None:
    engines: list[tuple[str, EngineSettings]] = []
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        engines += load_settings(file, {}, look_at_files=False).engines.items()
    assert len(engines) == 9
    for name, settings in engines:
        check_reserved(name, settings)
    asked = [([*map(option, each.args)], arguments(each.args)) for _, each in engines]
    assert _faults(asked) == [None] * len(engines)


def _faults(asked: list[tuple[list[str], list[str]]]) -> list[str | None]:
    argv = [sys.executable, "-W", "ignore", "-c", _EACH, vllm_arguments.__file__]
    ran = subprocess.run(
        [*argv, json.dumps(asked)], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    faults: list[str | None] = json.loads(ran.stdout.splitlines()[-1])
    return faults
