"""The installer, without a network."""

import ast
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bootstrap.py"


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one package that nobody has."""
    for folder in ("requirements", "scripts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "requirements" / "torch.txt").write_text("# alone\ntorch==2.13.0\n")
    (tmp_path / "requirements" / "run.txt").write_text("# all\nno-such-package-of-naru==1.0\n")
    (tmp_path / "requirements" / "dev.txt").write_text("# more\n")
    (tmp_path / "requirements" / "engine-cpu.txt").write_text("# whole\nvllm-cpu==0.1\n")
    (tmp_path / "requirements" / "engine-gpu.txt").write_text("# whole\nvllm==0.1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "scripts" / "bootstrap.py").touch()
    return tmp_path


@pytest.fixture
def installed(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip would be asked; it does nothing."""
    asked: list[list[str]] = []

    def make_venv(venv: str) -> None:
        (Path(venv) / "bin").mkdir(parents=True)
        (Path(venv) / "bin" / "python").write_text("new")

    monkeypatch.setattr(bootstrap, "pip_install", lambda _, arguments: asked.append(arguments))
    monkeypatch.setattr(bootstrap, "make_venv", make_venv)
    monkeypatch.setattr(bootstrap, "known_versions", lambda *_: ["2.13.0+cpu", "2.13.0"])
    monkeypatch.setattr(bootstrap, "has_gpu", lambda: False)
    monkeypatch.setattr(bootstrap, "sound", lambda _: True)
    return asked


def test_python_3_6_can_read_it() -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("version", [(3, 6), (3, 10), (3, 15)])
def test_a_python_the_pins_do_not_support_is_named(
    bootstrap: ModuleType, version: tuple[int, int]
) -> None:
    with pytest.raises(bootstrap.Problem, match=r"needs Python 3\.11 to 3\.14.*PYTHON=") as raised:
        bootstrap.check_python(version)
    assert f"this is Python 3.{version[1]}" in str(raised.value)


def test_a_machine_without_any_redis_is_named(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _: None)
    with pytest.raises(bootstrap.Problem, match="install redis-server"):
        bootstrap.check_redis((3, 13), {})
    bootstrap.check_redis((3, 13), {"REDIS_URL": "redis://elsewhere"})
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _: "/usr/bin/redis-server")
    bootstrap.check_redis((3, 13), {})


def test_the_second_time_nothing_is_done(
    bootstrap: ModuleType, root: Path, installed: list[list[str]]
) -> None:
    bootstrap.install(str(root), ["run"])
    assert len(installed) == 3
    bootstrap.install(str(root), ["run"])
    assert len(installed) == 3


@pytest.mark.parametrize(
    "file", ["requirements/run.txt", "requirements/torch.txt", "pyproject.toml"]
)
def test_a_changed_pin_installs_again(
    bootstrap: ModuleType, root: Path, installed: list[list[str]], file: str
) -> None:
    bootstrap.install(str(root), ["run"])
    with (root / file).open("a") as opened:
        opened.write("# changed\n")
    bootstrap.install(str(root), ["run"])
    assert len(installed) == 6


def test_tests_need_more_than_running(
    bootstrap: ModuleType, root: Path, installed: list[list[str]]
) -> None:
    bootstrap.install(str(root), ["run"])
    bootstrap.install(str(root), ["run", "dev"])
    assert any(argument.endswith("dev.txt") for argument in installed[4])
    bootstrap.install(str(root), ["run"])
    assert len(installed) == 6


class TestEngine:
    """vLLM comes when it is wanted, in the build for this machine."""

    @pytest.mark.parametrize(
        ("arguments", "environ", "gpu", "expected"),
        [
            ([], {}, False, ["run"]),
            ([], {"MODEL": ""}, True, ["run"]),
            ([], {"MODEL": "m"}, False, ["run", "engine-cpu"]),
            ([], {"MODEL": "m"}, True, ["run", "engine-gpu"]),
            (["--engine-cpu"], {}, True, ["run", "engine-cpu"]),
            (["--dev"], {}, False, ["run", "dev", "engine-cpu"]),
        ],
    )
    def test_it_is_wanted_for_a_model_and_for_tests(
        self,
        bootstrap: ModuleType,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        environ: dict[str, str],
        gpu: bool,
        expected: list[str],
    ) -> None:
        monkeypatch.setattr(bootstrap, "has_gpu", lambda: gpu)
        assert bootstrap.groups(arguments, environ) == expected

    def test_for_the_cpu_it_is_installed_by_its_list_alone(
        self, bootstrap: ModuleType, root: Path, installed: list[list[str]]
    ) -> None:
        bootstrap.install(str(root), ["run"])
        bootstrap.install(str(root), ["run", "engine-cpu"])
        path = str(root / "requirements" / "engine-cpu.txt")
        assert installed[3:][-1] == ["--require-hashes", "--no-deps", "-r", path]
        count = len(installed)
        bootstrap.install(str(root), ["run", "engine-cpu"])
        assert len(installed) == count

    def test_for_a_gpu_it_is_the_build_with_cuda(
        self,
        bootstrap: ModuleType,
        root: Path,
        installed: list[list[str]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(bootstrap, "has_gpu", lambda: True)
        bootstrap.install(str(root), ["run", "engine-gpu"])
        assert installed[0] == ["torch==2.13.0"]
        path = str(root / "requirements" / "engine-gpu.txt")
        assert installed[-1] == ["--require-hashes", "--no-deps", "-r", path]


@pytest.mark.parametrize("engine", ["engine-cpu", "engine-gpu"])
def test_the_pins_of_every_list_agree(engine: str) -> None:
    ours = dict(pins("run") | pins("dev"))
    assert len(ours) == len(pins("run") | pins("dev"))
    # One list can hold several versions of a package, each for another processor.
    shared = {name for name, _ in pins(engine)} & ours.keys()
    assert {(name, ours[name]) for name in shared} <= pins(engine)


@pytest.mark.parametrize("name", ["run", "dev", "engine-cpu", "engine-gpu", "loadtest", "tools"])
def test_every_pin_has_its_hashes(name: str) -> None:
    entries = re.split(r"\n(?=\S)", re.sub("^#.*\n", "", locked(name), flags=re.MULTILINE).strip())
    assert len(entries) > 20
    for entry in entries:
        pin, *hashes = entry.split(" \\\n")
        assert re.match(r"[\w.-]+==[^;\s]+( ; .+)?$", pin), f"{pin}: run `make lock`"
        assert hashes, f"{pin}: run `make lock`"
        assert all(re.fullmatch("    --hash=sha256:[0-9a-f]{64}", each) for each in hashes)


def test_the_gpu_gets_the_pinned_vllm() -> None:
    pinned = re.search('"(vllm==.+)"', (SCRIPT.parents[1] / "pyproject.toml").read_text())
    assert pinned
    assert f"\n{pinned[1]} ;" in locked("engine-gpu")


def pins(name: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.-]+)==([^;\s]+)", locked(name), re.MULTILINE))


def locked(name: str) -> str:
    return (SCRIPT.parents[1] / "requirements" / f"{name}.txt").read_text()


def test_an_install_that_was_killed_is_begun_afresh(
    bootstrap: ModuleType, root: Path, installed: list[list[str]]
) -> None:
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").touch()
    (root / ".venv" / "naru-installing").touch()
    bootstrap.install(str(root), ["run"])
    assert (root / ".venv" / "bin" / "python").read_text() == "new"
    assert not (root / ".venv" / "naru-installing").exists()


def test_an_install_that_failed_in_order_is_continued(
    bootstrap: ModuleType,
    root: Path,
    installed: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise bootstrap.Problem("no network")

    monkeypatch.setattr(bootstrap, "pip_install", fail)
    with pytest.raises(bootstrap.Problem):
        bootstrap.install(str(root), ["run"])
    assert [entry.name for entry in (root / ".venv").iterdir()] == ["bin"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyPI's build has no CUDA")
class TestTorch:
    """Without a GPU no gigabytes of CUDA."""

    def test_a_cpu_build_pip_knows_comes_first(
        self, bootstrap: ModuleType, installed: list[list[str]]
    ) -> None:
        bootstrap.install_torch("python", "2.13.0", gpu=False)
        assert installed == [["--no-deps", "torch==2.13.0+cpu"]]

    def test_else_the_cpu_index_without_waiting(
        self,
        bootstrap: ModuleType,
        installed: list[list[str]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(bootstrap, "known_versions", lambda *_: ["2.13.0"])
        bootstrap.install_torch("python", "2.13.0", gpu=False)
        assert installed[0][:2] == ["--index-url", "https://download.pytorch.org/whl/cpu"]
        assert installed[0][2:6] == ["--timeout", "15", "--retries", "0"]
        assert installed[0][-1] == "torch==2.13.0+cpu"

    def test_the_index_can_be_another(
        self,
        bootstrap: ModuleType,
        installed: list[list[str]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(bootstrap, "known_versions", lambda *_: [])
        monkeypatch.setenv("TORCH_INDEX_URL", "https://mirror.example/cpu")
        bootstrap.install_torch("python", "2.13.0", gpu=False)
        assert installed[0][1] == "https://mirror.example/cpu"

    def test_with_a_gpu_the_cuda_build(
        self,
        bootstrap: ModuleType,
        installed: list[list[str]],
    ) -> None:
        bootstrap.install_torch("python", "2.13.0", gpu=True)
        assert installed == [["torch==2.13.0"]]

    def test_an_index_out_of_reach_is_told(
        self, bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bootstrap, "known_versions", lambda *_: [])
        monkeypatch.setenv("TORCH_INDEX_URL", "http://127.0.0.1:1/cpu")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
        with pytest.raises(bootstrap.Problem, match="set TORCH_INDEX_URL to a mirror"):
            bootstrap.install_torch(sys.executable, "0.0.0", gpu=False)


def test_pips_own_error_is_shown(
    bootstrap: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    requirements = str(root / "requirements" / "run.txt")
    with pytest.raises(bootstrap.Problem, match="No matching distribution found for no-such"):
        bootstrap.pip_install(sys.executable, ["-r", requirements])


def test_an_environment_of_another_python_is_not_sound(bootstrap: ModuleType) -> None:
    assert bootstrap.sound(sys.executable)
    assert not bootstrap.sound("/bin/false")
    assert not bootstrap.sound("/nowhere/python")


def test_a_pip_knows_its_versions(bootstrap: ModuleType, tmp_path: Path) -> None:
    """A wheel in a folder that pip is configured to look into is found without any index."""
    (tmp_path / "torch-9.9.9+cpu-py3-none-any.whl").touch()
    environ = os.environ | {"PIP_FIND_LINKS": str(tmp_path), "PIP_NO_INDEX": "1"}
    bootstrap.pip_environ = lambda: environ
    assert "9.9.9+cpu" in bootstrap.known_versions(sys.executable, "torch")
