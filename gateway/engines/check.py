"""Are an engine's settings such that vLLM would start? Asked of vLLM's own parser, in seconds."""

import asyncio
import importlib.resources
import os

import msgspec

from config.errors import ConfigError
from config.settings import EngineSettings
from gateway.engines.command import arguments, check_reserved, environment, interpreter, option

_LIMIT_S = 180.0
_SCRIPT = "vllm_arguments.py"


class _Found(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the script in the engine's interpreter says."""

    version: str = ""
    device: str = ""
    fault: str | None = None
    missing: str | None = None


async def check_engine(name: str, settings: EngineSettings) -> str:
    """Return what will run, such as `vLLM 0.32.0 on cpu`.

    Raises:
        ConfigError: An argument is wrong or reserved, or the interpreter has no such vLLM.
    """
    check_reserved(name, settings)
    found = await _ask(name, settings)
    if found.missing is not None:
        raise ConfigError(
            f"engines.{name}: {interpreter(settings)} has no vLLM ({found.missing}): "
            "`make engine-cpu` installs it for the CPU, `pip install vllm` for a GPU"
        )
    if settings.device not in ("auto", found.device):
        raise ConfigError(
            f"engines.{name}.device is {settings.device}, but the vLLM of "
            f"{interpreter(settings)} runs on {found.device or 'nothing here'}"
        )
    if found.fault is not None:
        raise ConfigError(f"engines.{name}.args: {found.fault}")
    return f"vLLM {found.version} on {found.device}"


async def _ask(name: str, settings: EngineSettings) -> _Found:
    script = (importlib.resources.files(__package__) / _SCRIPT).read_text(encoding="utf-8")
    names = [option(written) for written in settings.args]
    asked = msgspec.json.encode({"names": names, "argv": arguments(settings.args)}).decode()
    program = interpreter(settings)
    try:
        process = await asyncio.create_subprocess_exec(
            *(program, "-c", script, asked),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(settings, os.environ),
            start_new_session=True,
        )
    except OSError as error:
        raise ConfigError(f"engines.{name}.python: can't run {program}: {error.strerror}") from None
    return await _answer(name, process)


async def _answer(name: str, process: asyncio.subprocess.Process) -> _Found:
    try:
        async with asyncio.timeout(_LIMIT_S):
            output, errors = await process.communicate()
    except TimeoutError:
        message = f"engines.{name}.python: vLLM did not look at its arguments in {_LIMIT_S:g} s"
        raise ConfigError(message) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return msgspec.json.decode(output.splitlines()[-1], type=_Found)
    except (IndexError, msgspec.MsgspecError):
        last = (errors.decode("utf-8", "replace").strip() or "no message").splitlines()[-1]
        raise ConfigError(f"engines.{name}.python: vLLM can't be asked: {last}") from None
