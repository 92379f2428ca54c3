"""Makes models of random weights: `python tests/tiny_models.py FOLDER`, apart from the tests.

Words are tokens; `xlm` is laid out as multilingual models are: no segments, padding by 1, positions
counted from the padding, prompts of its own.
"""

import sys
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

WORDS = [*"abcdefghijklmnopqrstuvwxyz", *"가나다라마바사", ":", "query", "passage"]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.3,  # so that every word counts
}


def tokenizer(special: list[str]) -> PreTrainedTokenizerFast:
    start, pad, end, unknown = special
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    pieces = {f"##{word}": len(vocabulary) + number for number, word in enumerate(WORDS)}
    rust = Tokenizer(
        models.WordPiece(vocabulary | pieces, unk_token=unknown, max_input_chars_per_word=1000)
    )
    rust.normalizer = normalizers.Lowercase()
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} $B:1 {end}:1",
        special_tokens=[(start, vocabulary[start]), (end, vocabulary[end])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=rust,
        pad_token=pad,
        unk_token=unknown,
        cls_token=start,
        sep_token=end,
        model_max_length=48,
        model_input_names=["input_ids", "attention_mask"]
        + (["token_type_ids"] if pad == "[PAD]" else []),
    )


def save(kind: str, folder: Path) -> None:
    torch.manual_seed(1)
    parts = folder / "parts"
    if kind == "xlm":
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        config = XLMRobertaConfig(
            vocab_size=4 + 2 * len(WORDS),
            max_position_embeddings=64,
            type_vocab_size=1,
            pad_token_id=1,
            **SIZES,
        )
        model = XLMRobertaModel(config)
    else:
        special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]
        config = BertConfig(
            vocab_size=4 + 2 * len(WORDS),
            max_position_embeddings=64,
            pad_token_id=1,
            num_labels=1,
            **SIZES,
        )
        model = (BertForSequenceClassification if kind == "cross" else BertModel)(config)
    model.save_pretrained(parts)
    tokenizer(special).save_pretrained(parts)
    if kind == "cross":
        CrossEncoder(str(parts), device="cpu").save_pretrained(str(folder / "model"))
        return
    transformer = Transformer(str(parts), max_seq_length=48)
    prompts = {"query": "query: ", "passage": "passage: "} if kind == "xlm" else None
    pooling = Pooling(32, pooling_mode="cls" if kind == "xlm" else "mean")
    SentenceTransformer(modules=[transformer, pooling], prompts=prompts, device="cpu").save(
        str(folder / "model")
    )


if __name__ == "__main__":
    for each in ("bert", "xlm", "cross"):
        save(each, Path(sys.argv[1]) / each)
