"""Write the hashes of all pins into `requirements/*.txt`: `make lock`.

The pins stand in those files and are changed there; only the hashes are the index's. What vLLM
needs on a GPU is resolved anew, within the other pins. uv comes from `requirements/tools.txt`, into
an environment of its own.
"""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
TOOLS = ROOT / "build" / "tools"
PINNED = ("tools", "run", "dev", "engine-cpu", "loadtest")
GPU = "engine-gpu"
COMPILE = ("pip", "compile", "--quiet", "--universal", "--python-version=3.11", "--generate-hashes")
PLAIN = ("--no-header", "--no-annotate")

# Where there are CUDA's drivers: without this every processor that vLLM names is resolved for.
PROJECT = """
[project]
name = "engine-gpu"
version = "0"
requires-python = ">=3.11"
dependencies = ["{vllm}"]

[tool.uv]
environments = [
    "sys_platform == 'linux' and platform_machine == 'x86_64'",
    "sys_platform == 'linux' and platform_machine == 'aarch64'",
]
"""


def main() -> None:
    """Lock every list."""
    uv = tool("uv")
    for name in PINNED:
        lock(uv, name, REQUIREMENTS, f"{name}.txt", "--no-deps")
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "pyproject.toml"
        project.write_text(PROJECT.format(vllm=vllm()))
        within = [f"--constraint={REQUIREMENTS / name}" for name in ("run.txt", "torch.txt")]
        lock(uv, GPU, project.parent, project.name, "--no-emit-package=torch", *within)


def tool(name: str) -> str:
    """Return a program of `requirements/tools.txt`, installed where it is missing."""
    if not (TOOLS / "bin" / name).exists():
        venv.create(TOOLS, with_pip=True)
        tools = REQUIREMENTS / "tools.txt"
        pip = [str(TOOLS / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--require-hashes", "--requirement", str(tools)], check=True)
    return str(TOOLS / "bin" / name)


def lock(uv: str, name: str, folder: Path, *arguments: str) -> None:
    """Rewrite one list; what its first lines say stays."""
    path = REQUIREMENTS / f"{name}.txt"
    comments = re.match("(?:#.*\n)*", path.read_text()).group()
    # What the file says already is preferred to what is newer.
    command = [uv, *COMPILE, *PLAIN, f"--output-file={path}", *arguments]
    subprocess.run(command, cwd=folder, check=True)
    pins = path.read_text()
    path.write_text(comments + pins)
    sys.stdout.write(
        f"  {path.relative_to(ROOT)}: {len(re.findall('^[a-z]', pins, re.MULTILINE))} pins\n"
    )


def vllm() -> str:
    """Return which vLLM a GPU gets."""
    return re.search('"(vllm==.+)"', (ROOT / "pyproject.toml").read_text()).group(1)


if __name__ == "__main__":
    main()
