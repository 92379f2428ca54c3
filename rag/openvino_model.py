"""A model computed by OpenVINO, without torch (decision 9).

The first time, `rag.torch_model` writes it in a process of its own; later starts take what was
written, as long as the model's files and the libraries are the same.
"""

import hashlib
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Encoding
from tokenizers import Tokenizer as RustTokenizer

from rag.batching import Text
from rag.local_model import Description, Model, UnreadableModel, Wanted, model_path, threads
from rag.tokenizer import document_tokenizer

MODEL_FILE = "model.xml"
TOKENIZER_FILE = "tokenizer.json"
DESCRIPTION_FILE = "description.json"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")

_FORMAT = "1"
_LIBRARIES = ("openvino", "sentence-transformers", "transformers")
_EXPORT_S = 600.0
# Kernels are made anew for every shape: few shapes, little padding.
_PAD_TO = 8
# Those of 64 texts in 256 tokens are 2,048 shapes of some 0.4 MB each; to make one anew takes no
# measurable time.
_KERNELS_KEPT = 64


def is_installed() -> bool:
    """Tell whether OpenVINO is there: it has no wheel for some platforms."""
    return importlib.util.find_spec("openvino") is not None


def load_openvino(wanted: Wanted, cache: Path) -> Model:
    """Load a model from the cache, or write it there first.

    Raises:
        UnreadableModel: There is no such model here, or it can't be computed without torch.
    """
    folder = _cached(wanted, cache)
    if folder is None or not folder.exists():
        folder = _export(wanted, cache)
    return load_exported(wanted, folder)


def load_exported(wanted: Wanted, folder: Path) -> Model:
    """Load what `rag.torch_model.export` wrote."""
    described = msgspec.json.decode((folder / DESCRIPTION_FILE).read_bytes(), type=Description)
    described = described.fit(wanted)
    tokenizer = RustTokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.enable_padding(**{**(tokenizer.padding or {}), "pad_to_multiple_of": _PAD_TO})
    if described.limit:
        tokenizer.enable_truncation(described.limit)
    counter = RustTokenizer.from_file(str(folder / TOKENIZER_FILE))
    counter.no_padding()
    counter.no_truncation()
    infer = _compiled(folder, described.precision)

    def compute(texts: list[Text]) -> bytes:
        return infer(tokenizer.encode_batch(texts), described.inputs)

    def count(texts: list[str]) -> list[int]:
        return [len(encoding.ids) for encoding in counter.encode_batch(texts)]

    return Model(
        compute,
        dimensions=len(compute([("a", "a")] if wanted.rerank else ["a"])) // 4,
        count=count,
        limit=described.limit,
        prompts=described.prompts,
        tokenizer=document_tokenizer(
            RustTokenizer.from_file(str(folder / TOKENIZER_FILE)),
            described.limit,
            described.document_prompt,
        ),
    )


def _compiled(folder: Path, precision: str) -> Callable[[list[Encoding], list[str]], bytes]:
    """Return a function from encodings and the graph's inputs to float32 numbers."""
    import numpy as np  # noqa: PLC0415 - only workers have need of it

    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads(),
        "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS_KEPT,
    }
    # By itself it computes in bfloat16 where the processor does.
    options |= {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    core = quiet_openvino().Core()
    request = core.compile_model(folder / MODEL_FILE, "CPU", options).create_infer_request()

    def infer(encodings: list[Encoding], inputs: list[str]) -> bytes:
        columns = {
            "input_ids": [each.ids for each in encodings],
            "attention_mask": [each.attention_mask for each in encodings],
            "token_type_ids": [each.type_ids for each in encodings],
        }
        values = [np.array(columns[name], dtype=np.int64) for name in inputs]
        return bytes(request.infer(values)[0].astype("<f4").tobytes())

    return infer


def quiet_openvino() -> Any:  # noqa: ANN401
    """Return the package `openvino`, kept from reporting its use to its makers."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # what it does without
    import openvino  # noqa: PLC0415

    return openvino


def _export(wanted: Wanted, cache: Path) -> Path:
    """Write a model into the cache, whole or not at all; return its folder."""
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=cache))
    argv = [sys.executable, "-P", "-m", "rag.torch_model", str(unfinished)]
    try:
        result = subprocess.run(
            [*argv, msgspec.json.encode(wanted).decode()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_EXPORT_S,
        )
        if result.returncode:
            raise UnreadableModel((result.stderr.strip() or "torch died").splitlines()[-1])
        # Known only now where the model had to be downloaded first.
        folder = _cached(wanted, cache) or unfinished.with_name("unknown")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except subprocess.TimeoutExpired:
        raise UnreadableModel(f"{wanted.model} took more than {_EXPORT_S:g} s to convert") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _cached(wanted: Wanted, cache: Path) -> Path | None:
    """Return where the cache has the model as its files are now; None: they are not here."""
    path = model_path(wanted.model) or _downloaded(wanted.model)
    if path is None:
        return None
    files = sorted(file for file in path.rglob("*") if file.is_file())
    facts: list[object] = [_FORMAT, str(path.resolve()), wanted.rerank]
    facts += [importlib.metadata.version(name) for name in _LIBRARIES]
    facts += [(str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    digest = hashlib.sha256(msgspec.json.encode(facts)).hexdigest()
    return cache / f"{path.name}-{digest[:16]}"


def _downloaded(name: str) -> Path | None:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - slow, and rarely needed
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return None
