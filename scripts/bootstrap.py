"""Make `.venv` and install the pinned requirements.

`python3 scripts/bootstrap.py [--dev | --engine-cpu | --check]`. The engine comes along where MODEL
is set, and with --dev.

Standard library only, and syntax that Python 3.6 parses, so that an old Python gets to say so. A
stamp in `.venv` makes the next call return at once; an install that was killed is begun afresh.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST, NEWEST = (3, 11), (3, 14)
TORCH_INDEX_URL = "https://download.pytorch.org/whl/cpu"
NETWORK = ["--timeout", "15", "--retries", "0"]


class Problem(Exception):
    """Something the user must change; the message says what to do."""


def main(arguments: "list[str]") -> int:
    """Check this machine, then install what is missing; return the exit status."""
    try:
        check_python(sys.version_info[:2])
        check_redis(sys.version_info[:2], os.environ)
        if "--check" not in arguments:
            install(ROOT, groups(arguments, os.environ))
    except Problem as problem:
        sys.stderr.write("naru: {}\n".format(problem))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nnaru: interrupted; the next run begins the installation afresh\n")
        return 130
    return 0


def groups(arguments: "list[str]", environ: "dict[str, str]") -> "list[str]":
    """Return what to install: `run`, `dev`, and `engine-cpu` or `engine-gpu`."""
    dev, cpu = "--dev" in arguments, "--engine-cpu" in arguments
    named = ["run", "dev"] if dev else ["run"]
    if not (dev or cpu or environ.get("MODEL")):
        return named
    return named + ["engine-cpu" if cpu or not has_gpu() else "engine-gpu"]


def check_python(version: "tuple[int, int]") -> None:
    """Refuse a Python the pinned packages do not support."""
    if OLDEST <= version <= NEWEST:
        return
    found = "this is Python {}.{}".format(*version)
    wanted = "needs Python {}.{} to {}.{}".format(*(OLDEST + NEWEST))
    raise Problem(
        "{}, {}: install one, or name it: `make run PYTHON=python3.12`".format(wanted, found)
    )


def check_redis(version: "tuple[int, int]", environ: "dict[str, str]") -> None:
    """Refuse to go on where no Redis could be started later."""
    wheel = sys.platform == "linux" and platform.machine() == "x86_64" and version < (3, 13)
    if wheel or shutil.which("redis-server") or environ.get("REDIS_URL"):
        return
    raise Problem(
        "no Redis: install redis-server (apt install redis-server, brew install redis), "
        "set REDIS_URL, or use Python 3.11 or 3.12 on Linux x86-64, which need neither"
    )


def install(root: str, groups: "list[str]") -> None:
    """Bring `.venv` up to date; return at once when its stamps say that it is."""
    venv = os.path.join(root, ".venv")
    wanted = {group: fingerprint(root, group) for group in groups}
    if all(read(stamp(venv, group)) == wanted[group] for group in groups):
        return
    started = time.time()
    marker = os.path.join(venv, "naru-installing")
    python = prepare_venv(venv, marker)
    write(marker, "")
    try:
        install_packages(root, python, groups)
    except Problem:
        # pip ended in order: what it has installed is whole.
        os.remove(marker)
        raise
    for group in groups:
        write(stamp(venv, group), wanted[group])
    os.remove(marker)
    say("installed in {:.0f} s".format(time.time() - started))


def install_packages(root: str, python: str, groups: "list[str]") -> None:
    requirements = os.path.join(root, "requirements")
    gpu = has_gpu() and "engine-cpu" not in groups
    install_torch(python, pinned_torch(os.path.join(requirements, "torch.txt")), gpu)
    arguments, count = [], 0
    for name in groups:
        if not name.startswith("engine"):
            path = os.path.join(requirements, name + ".txt")
            arguments += ["-r", path]
            count += pins(path)
    say("installing {} packages".format(count))
    pip_install(python, ["--require-hashes"] + arguments)
    pip_install(python, ["--no-deps", "--no-build-isolation", "--editable", root])
    install_engine(root, python, groups)


def install_engine(root: str, python: str, groups: "list[str]") -> None:
    """Install vLLM and what it needs beside what is there, whole by its list."""
    for name in groups:
        if name.startswith("engine"):
            path = os.path.join(root, "requirements", name + ".txt")
            say("installing vLLM for the {}, {} packages".format(name[-3:].upper(), pins(path)))
            pip_install(python, ["--require-hashes", "--no-deps", "-r", path])


def pins(path: str) -> int:
    return len(re.findall("^[^#\\s]", read(path), re.MULTILINE))


def install_torch(python: str, version: str, gpu: bool) -> None:
    """Install torch: on Linux without a GPU its CPU build, which is a tenth of the size."""
    if sys.platform != "linux" or gpu:
        say("installing torch {}".format(version))
        pip_install(python, ["torch==" + version])
        return
    cpu_build = version + "+cpu"
    arguments = ["--no-deps", "torch==" + cpu_build]
    if cpu_build in known_versions(python, "torch"):
        say("installing torch {} from a place your pip knows".format(cpu_build))
        pip_install(python, arguments)
        return
    index = os.environ.get("TORCH_INDEX_URL") or TORCH_INDEX_URL
    say("installing torch {} from {}".format(cpu_build, index))
    try:
        pip_install(python, ["--index-url", index] + NETWORK + arguments)
    except Problem as problem:
        raise Problem(
            "{}\nnaru: no CPU build of torch at {}: set TORCH_INDEX_URL to a mirror of it, or "
            "PIP_FIND_LINKS to a folder with the torch {} wheel".format(problem, index, cpu_build)
        )


def has_gpu() -> bool:
    """Tell whether an NVIDIA driver answers."""
    program = shutil.which("nvidia-smi")
    if not program:
        return False
    try:
        listed = subprocess.run([program, "-L"], stdout=subprocess.PIPE, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and b"GPU" in listed.stdout


def known_versions(python: str, package: str) -> "list[str]":
    """Return the versions pip would find where it is configured to look, local builds included."""
    command = pip(python, "index", "versions", package) + NETWORK
    try:
        answer = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=pip_environ(),
            timeout=90,
        )
    except subprocess.TimeoutExpired:
        return []
    found = re.search("^Available versions: (.*)$", answer.stdout.decode(), re.MULTILINE)
    return found.group(1).split(", ") if found else []


def pinned_torch(path: str) -> str:
    return re.search("^torch==(.+)$", read(path), re.MULTILINE).group(1).strip()


def prepare_venv(venv: str, marker: str) -> str:
    """Return the environment's Python; make the environment unless a sound one is there."""
    python = os.path.join(venv, "bin", "python")
    if os.path.exists(marker):
        say("the last installation was cut off: beginning afresh")
        remove(venv)
    elif os.path.lexists(venv) and not sound(python):
        say("{} belongs to another Python or is broken: making it anew".format(venv))
        remove(venv)
    if not os.path.exists(python):
        make_venv(venv)
    return python


def make_venv(venv: str) -> None:
    say("creating {}".format(venv))
    try:
        import ensurepip  # noqa: F401
        import venv as _  # noqa: F401
    except ImportError:
        package = "python{}.{}-venv".format(*sys.version_info[:2])
        raise Problem("this Python has no venv: install it (apt install {})".format(package))
    try:
        os.makedirs(venv, exist_ok=True)
    except OSError as error:
        raise Problem("can't write to {} ({})".format(os.path.dirname(venv), error.strerror))
    made = subprocess.run(
        [sys.executable, "-m", "venv", venv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if made.returncode:
        remove(venv)
        raise Problem("can't create {}: {}".format(venv, tail(made.stdout.decode())))


def sound(python: str) -> bool:
    """Tell whether the environment's Python runs, is of our version, and has pip."""
    code = "import pip, sys; print(sys.version_info[:2] == {!r})".format(sys.version_info[:2])
    try:
        ran = subprocess.run(
            [python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.stdout.strip() == b"True"


def remove(venv: str) -> None:
    if os.path.islink(venv):
        os.unlink(venv)
    else:
        shutil.rmtree(venv)


def pip(python: str, *arguments: str) -> "list[str]":
    return [python, "-m", "pip", "--disable-pip-version-check", "--no-input"] + list(arguments)


def pip_environ() -> "dict[str, str]":
    # A `user = true` in someone's pip.conf can't work in an environment.
    return dict(os.environ, PIP_USER="0", PYTHONUNBUFFERED="1")


def pip_install(python: str, arguments: "list[str]") -> None:
    """Run pip, showing on a terminal what it is at; its own words only when it fails."""
    # Compiling everything ahead takes longer than the whole rest; Python compiles what it imports.
    options = ["install", "--progress-bar", "off", "--no-compile"]
    lines = []
    with subprocess.Popen(
        pip(python, *options) + arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=pip_environ(),
    ) as process:
        for raw in process.stdout:
            lines.append(raw.decode("utf-8", "replace").rstrip())
            show(lines[-1])
    clear()
    if process.returncode:
        raise Problem("pip failed: {}".format(tail("\n".join(lines))))


def show(line: str) -> None:
    if sys.stdout.isatty() and re.match(r"Collecting|\s*Downloading|Installing|Building", line):
        sys.stdout.write("\r\033[K    " + line.strip()[:70])
        sys.stdout.flush()


def clear() -> None:
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K")
        sys.stdout.flush()


def tail(output: str) -> str:
    """Return pip's error lines, or else its last ones."""
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return "\n      ".join((errors or lines)[-5:])


def fingerprint(root: str, group: str) -> str:
    """Return what the stamp must say: it changes with the pins, this Python and the place."""
    digest = hashlib.sha256(repr((sys.version, root, group)).encode())
    names = ["requirements/{}.txt".format(name) for name in ("run", "torch", group)]
    for name in names + ["pyproject.toml", "scripts/bootstrap.py"]:
        digest.update(read(os.path.join(root, *name.split("/"))).encode())
    return digest.hexdigest()


def stamp(venv: str, group: str) -> str:
    return os.path.join(venv, "naru-{}.stamp".format(group))


def read(path: str) -> str:
    """Return a file's text, empty when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def say(line: str) -> None:
    sys.stdout.write("  {}\n".format(line))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
