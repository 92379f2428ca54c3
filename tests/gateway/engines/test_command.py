"""An engine's command line and environment."""

import sys
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.settings import EngineSettings
from gateway.engines.command import arguments, check_reserved, command, environment

SOCKET = Path("/run/naru/engine-0-1.sock")


def test_what_naru_needs_is_always_there() -> None:
    run = command("qwen", EngineSettings(model="Qwen/Qwen3-4B"), SOCKET, 10.0, 1)
    assert run.name == "engine-qwen"
    assert run.argv[:3] == [sys.executable, "-m", "vllm.entrypoints.launchers.api_server.entry"]
    assert {
        *("--model=Qwen/Qwen3-4B", "--served-model-name=qwen", f"--uds={SOCKET}"),
        *("--shutdown-timeout=10", "--enable-force-include-usage"),
        *("--enable-prompt-tokens-details", "--disable-uvicorn-access-log"),
    } <= set(run.argv)
    assert run.grace_s > 10


def test_replicas_have_names_of_their_own_and_another_interpreter_is_used() -> None:
    settings = EngineSettings(model="m", replicas=2, python=Path("/opt/vllm/bin/python"))
    run = command("qwen", settings, SOCKET, 10.0, 2)
    assert run.name == "engine-qwen-2"
    assert run.argv[0] == "/opt/vllm/bin/python"


def test_every_kind_of_value_becomes_what_vllms_parser_reads() -> None:
    words = arguments(
        {
            "max_model_len": 8192,
            "gpu-memory-utilization": 0.9,
            "quantization": "awq",
            "enable-prefix-caching": False,
            "disable-uvicorn-access-log": None,
            "speculative-config": {"method": "ngram", "n": -1},
            "lora-modules": ["sql=/lora/sql", {"name": "ko", "path": "/lora/ko"}],
        }
    )
    assert words == [
        *("--disable-fastapi-docs", "--max-model-len=8192", "--gpu-memory-utilization=0.9"),
        *("--quantization=awq", "--no-enable-prefix-caching"),
        '--speculative-config={"method":"ngram","n":-1}',
        *("--lora-modules", "sql=/lora/sql", '{"name":"ko","path":"/lora/ko"}'),
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("uds", "private Unix sockets"),
        ("api_key", "private Unix sockets"),
        ("served-model-name", "by its name in the settings"),
        ("shutdown_timeout", "server.grace_s"),
        ("trust-request-chat-template", "templates of its own"),
        ("no-enable-prompt-tokens-details", "counts tokens"),
        ("api-server-count", "engines.qwen.replicas"),
        ("enable-log-requests", "prompts into the log"),
    ],
)
def test_an_argument_that_is_narus_or_does_harm_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as raised:
        check_reserved("qwen", EngineSettings(model="m", args={name: True}))
    assert str(raised.value).startswith(f"engines.qwen.args.{name}: ")


def test_secrets_of_ours_stay_ours() -> None:
    ours = {
        "PATH": "/bin",
        "HF_TOKEN": "hf",
        "CUDA_VISIBLE_DEVICES": "0",
        "NARU__AUTH__SECRET_KEY": "s",
        "NARU__DATABASE__URL": "postgresql://u:p@h/d",
        "DATABASE_URL": "postgresql://u:p@h/d",
        "OPENAI_API_KEY": "s",
        "ANTHROPIC_API_KEY": "s",
        "AWS_SECRET_ACCESS_KEY": "s",
        "VLLM_API_KEY": "s",
        "PYTHONPATH": "/elsewhere",
    }
    passed = environment(EngineSettings(model="m", env={"CUDA_VISIBLE_DEVICES": "1"}), ours)
    assert {name: passed[name] for name in ours if name in passed} == {
        "PATH": "/bin",
        "HF_TOKEN": "hf",
        "CUDA_VISIBLE_DEVICES": "1",
    }
    assert passed["VLLM_NO_USAGE_STATS"] == "1"


def test_the_cache_on_the_cpu_leaves_room_and_can_be_set() -> None:
    share = int(environment(EngineSettings(model="m"), {})["VLLM_CPU_KVCACHE_SPACE"])
    many = int(environment(EngineSettings(model="m", replicas=64), {})["VLLM_CPU_KVCACHE_SPACE"])
    assert 1 == many <= share <= 64
    chosen = EngineSettings(model="m", env={"VLLM_CPU_KVCACHE_SPACE": "7"})
    assert environment(chosen, {})["VLLM_CPU_KVCACHE_SPACE"] == "7"


def test_replicas_divide_the_gpus() -> None:
    def devices(gpus: str, replicas: int) -> list[str]:
        settings = EngineSettings(model="m", replicas=replicas, env={"CUDA_VISIBLE_DEVICES": gpus})
        every = range(1, replicas + 1)
        return [environment(settings, {}, each)["CUDA_VISIBLE_DEVICES"] for each in every]

    assert devices("4,5,6,7", 2) == ["4,5", "6,7"]
    assert devices("0,1", 1) == ["0,1"]
    assert devices("0", 2) == ["0", "0"]
    with pytest.raises(ConfigError, match="3 GPUs, which 2 replicas can't share"):
        devices("0,1,2", 2)
