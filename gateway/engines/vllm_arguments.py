"""Run in an engine's interpreter: does vLLM's own parser take these arguments?

Reads `{"names": [...], "argv": [...]}` from the first argument and writes one line of JSON to
standard output: `{"version": …, "device": …}`, with `"fault"` where an argument is wrong.
It is passed as text to `python -c`, so that the interpreter may live in a container.
"""

import argparse
import difflib
import json
import sys
from typing import Any, NoReturn


def look(names: list[str], argv: list[str]) -> dict[str, Any]:
    """Return what vLLM says to the arguments."""
    try:
        import vllm
        from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
        from vllm.entrypoints.launchers.launcher import validate_api_server_args
        from vllm.platforms import current_platform
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    except ImportError as error:
        return {"missing": str(error)}

    class Parser(FlexibleArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> NoReturn:
            raise ValueError(message)

    found = {"version": vllm.__version__, "device": current_platform.device_type}
    parser = make_arg_parser(Parser(prog="vllm serve"))
    if fault := unknown(parser, names):
        return {**found, "fault": fault}
    try:
        parsed = parser.parse_args(argv)
        validate_parsed_serve_args(parsed)
        if not (parsed.tool_parser_plugin or parsed.reasoning_parser_plugin):
            validate_api_server_args(parsed)
    except (ValueError, TypeError, KeyError, argparse.ArgumentTypeError) as error:
        return {**found, "fault": " ".join(str(error).split())}
    return found


def unknown(parser: argparse.ArgumentParser, names: list[str]) -> str | None:
    """Tell of an argument that vLLM does not have: abbreviations would pass its parser."""
    options = parser._option_string_actions  # noqa: SLF001 - argparse lists them nowhere else
    known = {text[2:] for text in options if text.startswith("--")}
    for name in names:
        if name.partition(".")[0] not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            return f"vLLM has no argument `{name}`{hint}"
    return None


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    sys.stdout.write("\n" + json.dumps(look(asked["names"], asked["argv"])) + "\n")
