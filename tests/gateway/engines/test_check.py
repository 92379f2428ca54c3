"""What vLLM's own parser says to an engine's settings."""

import sys
from pathlib import Path
from typing import Any

import pytest
from engine_support import ON_GPU

from config.errors import ConfigError
from config.settings import EngineSettings
from gateway.engines.check import check_engine


async def refusal(**values: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        await check_engine("qwen", EngineSettings(model="m", **values))
    assert "\n" not in str(raised.value)
    return str(raised.value)


async def test_a_misspelt_argument_is_named_and_an_abbreviation_is_none() -> None:
    assert await refusal(args={"max_modl_len": 1}) == (
        "engines.qwen.args: vLLM has no argument `max-modl-len`; did you mean `max-model-len`?"
    )


async def test_vllms_own_words_say_what_is_wrong_with_a_value() -> None:
    assert "argument --max-model-len: invalid" in await refusal(args={"max-model-len": "long"})


async def test_a_parser_that_vllm_lacks_is_named() -> None:
    args = {"enable-auto-tool-choice": True, "tool-call-parser": "nope"}
    assert "invalid tool call parser: nope" in await refusal(args=args)


async def test_a_device_the_build_is_not_for_is_told() -> None:
    other = "cpu" if ON_GPU else "cuda"
    assert f"device is {other}, but the vLLM of" in await refusal(device=other)


async def test_an_interpreter_without_vllm_is_told(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o700)
    said = await refusal(python=bare)
    assert f"{bare} has no vLLM (No module named 'vllm')" in said
    assert "make engine-cpu" in said


async def test_what_is_no_interpreter_is_told(tmp_path: Path) -> None:
    assert "No such file" in await refusal(python=tmp_path / "nothing")
    assert "vLLM can't be asked" in await refusal(python=Path("/bin/echo"))
