"""A model computed by torch, which is imported here and nowhere else.

`python -m rag.torch_model FOLDER WANTED` writes one for OpenVINO into a folder instead of serving
it, in a process that ends with its memory: `rag.openvino_model` then computes it without torch.
"""

import copy
import os
import re
import sys
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from rag.batching import Compute, Text
from rag.local_model import Description, Model, UnreadableModel, Wanted, model_path, threads
from rag.openvino_model import (
    DESCRIPTION_FILE,
    INPUTS,
    MODEL_FILE,
    TOKENIZER_FILE,
    load_exported,
    quiet_openvino,
)
from rag.tokenizer import document_tokenizer

# Trained with these, and published without them.
_PROMPTS = {
    re.compile(r"(^|/)(multilingual-)?e5-(small|base|large)(-v2)?$"): ("query: ", "passage: "),
}
_NO_LIMIT = 10**9
_LEAST_COSINE = 0.999
_LARGEST_DIFFERENCE = 0.02
_SAMPLES: dict[bool, list[Text]] = {
    False: ["a", "How many days of leave?", "연차 휴가는 며칠인가요? " * 9, "leave " * 120],
    True: [("leave?", "Fifteen days. " * 9), ("휴가", "15일"), ("a", "b " * 120)],
}


def load_torch(wanted: Wanted) -> Model:
    """Load a model with sentence-transformers.

    Raises:
        UnreadableModel: There is no such model here.
    """
    loaded = _load(wanted)
    described = _describe(wanted, loaded).fit(wanted)
    if described.limit:
        loaded.max_seq_length = described.limit
    compute = _compute(wanted, loaded)
    # A copy: another thread computes with the model's own meanwhile.
    tokenizer = copy.deepcopy(loaded.tokenizer)

    def count(texts: list[str]) -> list[int]:
        found = tokenizer(texts, truncation=False, padding=False, verbose=False)
        return [len(ids) for ids in found["input_ids"]]

    return Model(
        compute,
        dimensions=len(compute(_SAMPLES[wanted.rerank][:1])) // 4,
        count=count,
        limit=described.limit,
        prompts=described.prompts,
        tokenizer=_tokenizer_json(loaded, described),
    )


def _compute(wanted: Wanted, loaded: Any) -> Compute:  # noqa: ANN401
    from torch.nn import Sigmoid  # noqa: PLC0415

    def compute(texts: list[Text]) -> bytes:
        size = len(texts)
        if wanted.rerank:
            numbers = loaded.predict(texts, batch_size=size, activation_fn=Sigmoid())
        else:
            numbers = loaded.encode(texts, batch_size=size, prompt="", normalize_embeddings=True)
        return bytes(numbers.astype("<f4").tobytes())

    return compute


def _load(wanted: Wanted) -> Any:  # noqa: ANN401 - its package is not imported yet
    os.environ.setdefault("OMP_NUM_THREADS", str(threads()))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")
    path = model_path(wanted.model)
    if path:
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    # After the environment, which is read at import.
    from sentence_transformers import CrossEncoder, SentenceTransformer  # noqa: PLC0415

    kind = CrossEncoder if wanted.rerank else SentenceTransformer
    try:
        loaded = kind(str(path) if path else wanted.model, device="cpu")
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        what = "reranking" if wanted.rerank else "embedding"
        raise UnreadableModel(
            f"can't load the {what} model {wanted.model}: {first_line}"
        ) from error
    if wanted.rerank and loaded.num_labels != 1:
        raise UnreadableModel(
            f"{wanted.model} is no reranker: it gives {loaded.num_labels} numbers, not one score"
        )
    return loaded


def _describe(wanted: Wanted, loaded: Any) -> Description:  # noqa: ANN401
    own = (loaded.max_seq_length, getattr(loaded.tokenizer, "model_max_length", None))
    # Transformers has a huge number where it does not know.
    limit = min((each for each in own if each and each < _NO_LIMIT), default=0)
    query, document = ("", "") if wanted.rerank else _prompts(wanted.model, loaded.prompts)
    return Description(limit, query, document)


def _prompts(name: str, own: Mapping[str, str | None]) -> tuple[str, str]:
    """Return the model's own prompts, else those it was trained with."""
    known = next((both for pattern, both in _PROMPTS.items() if pattern.search(name)), ("", ""))
    return own.get("query") or known[0], own.get("document") or own.get("passage") or known[1]


def _tokenizer_json(loaded: Any, described: Description) -> str:  # noqa: ANN401
    backend = getattr(loaded.tokenizer, "backend_tokenizer", None)
    if backend is None:
        return ""
    rust = type(backend).from_str(backend.to_str())
    return document_tokenizer(rust, described.limit, described.document_prompt)


def export(wanted: Wanted, folder: Path) -> None:
    """Write the model for `rag.openvino_model`, and compare what both compute.

    Raises:
        UnreadableModel: There is no such model here, or it can't be computed without torch.
    """
    loaded = _load(wanted)
    described = _describe(wanted, loaded)
    if described.limit:
        loaded.max_seq_length = described.limit
    expected = _compute(wanted, loaded)(list(_SAMPLES[wanted.rerank]))
    _save_tokenizer(loaded.tokenizer, folder / TOKENIZER_FILE)
    features = loaded.preprocess(list(_SAMPLES[wanted.rerank]))
    described.inputs = [name for name in features if name in INPUTS]
    values = tuple(features[name] for name in described.inputs)
    openvino = quiet_openvino()
    graph = openvino.convert_model(_graph(wanted, loaded, described.inputs), example_input=values)
    openvino.save_model(graph, folder / MODEL_FILE, compress_to_fp16=False)
    for described.precision in ("", "f32"):
        (folder / DESCRIPTION_FILE).write_bytes(msgspec.json.encode(described))
        if _agree(wanted, expected, load_exported(wanted, folder)):
            return
    raise UnreadableModel(f"{wanted.model} computes something else without torch")


def _save_tokenizer(own: Any, file: Path) -> None:  # noqa: ANN401
    backend = getattr(own, "backend_tokenizer", None)
    if backend is None:
        raise UnreadableModel("the model has no fast tokenizer")
    rust = type(backend).from_str(backend.to_str())
    rust.enable_padding(
        direction=own.padding_side, pad_id=own.pad_token_id, pad_token=own.pad_token
    )
    rust.save(str(file))


def _graph(wanted: Wanted, loaded: Any, names: list[str]) -> Any:  # noqa: ANN401
    from torch import Tensor, nn  # noqa: PLC0415

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loaded = loaded.eval()

        def forward(self, *values: Tensor) -> Tensor:
            found = self.loaded(dict(zip(names, values, strict=True)))
            if wanted.rerank:
                scores: Tensor = found["scores"]
                return scores.reshape(-1, 1).sigmoid()
            vectors: Tensor = found["sentence_embedding"]
            return nn.functional.normalize(vectors, dim=-1)

    return Graph()


def _agree(wanted: Wanted, expected: bytes, exported: Model) -> bool:
    """Tell whether every vector, or every score, is what torch says."""
    samples = list(_SAMPLES[wanted.rerank])
    ours, theirs = array("f", exported.compute(samples)), array("f", expected)
    pairs = list(zip(ours, theirs, strict=True))
    if wanted.rerank:
        return all(abs(one - other) <= _LARGEST_DIFFERENCE for one, other in pairs)
    size = len(pairs) // len(samples)
    vectors = (pairs[start : start + size] for start in range(0, len(pairs), size))
    return all(sum(one * other for one, other in each) >= _LEAST_COSINE for each in vectors)


def main() -> int:
    """Export a model; return the exit status."""
    folder, wanted = sys.argv[1:]
    try:
        export(msgspec.json.decode(wanted, type=Wanted), Path(folder))
    except UnreadableModel as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
