"""A random-weight model for llama.cpp: real engine, real sizes, no download, meaningless text.

    python scripts/real/random_model.py /tmp/3b.gguf --size 3b

Its vocabulary is tokenswarm's embedded one, so prompts are as long as planned. The weights are
Gaussian: speed, cache and queueing are the engine's own, what it writes says nothing of any model.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from transformers.convert_slow_tokenizer import bytes_to_unicode

from workload.tokens import embedded_ranks

WEIGHTS_SEED = 1
VOCABULARY_MULTIPLE = 128  # rows of the logits in whole GPU tiles
# On hidden dimension 0, which is positive after the last norm. Within float16, far below any logit.
NEVER_SAMPLED = -60_000.0

TURN, END = "<|turn|>", "<|end|>"
CHAT_TEMPLATE = """\
{%- if tools %}<|turn|>tools
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}<|end|>
{% endif %}
{%- for message in messages %}<|turn|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
{%- set arguments = call.function.arguments %}
call {{ call.function.name }} {{ arguments if arguments is string else arguments | tojson }}
{%- endfor %}<|end|>
{% endfor %}
{%- if add_generation_prompt %}<|turn|>assistant
{% endif %}"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Of a Llama-like model: layers, widths, heads of queries and of keys, context in tokens."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    context_tokens: int = 131_072  # llama.cpp caps each slot's context at this

    @property
    def head_width(self) -> int:
        return self.hidden // self.heads

    def kv_bytes_per_token(self) -> int:
        """Keys and values of one token in float16."""
        return self.layers * 2 * self.kv_heads * self.head_width * 2


SIZES = {
    "tiny": Shape(layers=2, hidden=64, feed_forward=256, heads=2, kv_heads=2),
    "0.1b": Shape(layers=8, hidden=512, feed_forward=2_048, heads=8, kv_heads=2),
    # The sizes of Qwen2.5-3B but for the vocabulary: 36,864 bytes of keys and values a token.
    "3b": Shape(layers=36, hidden=2_048, feed_forward=11_008, heads=16, kv_heads=2),
}


@dataclass(frozen=True)
class Vocabulary:
    """Byte-level BPE: tokens by id, control tokens among them, and merges as "left right"."""

    tokens: list[str]
    merges: list[str]
    pre_tokenizer: str  # llama.cpp's name of the splitting pattern


def embedded_vocabulary() -> Vocabulary:
    """Tekken, as tokenswarm counts with, then the control tokens and unused ones."""
    letters: dict[int, str] = bytes_to_unicode()  # type: ignore[no-untyped-call]
    ranks = embedded_ranks()

    def written(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = []
    for token in ranks:
        halves = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        known = [pair for pair in halves if pair[0] in ranks and pair[1] in ranks]
        known.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [f"{written(left)} {written(right)}" for left, right in known]
    tokens = [written(token) for token in ranks] + [TURN, END]
    unused = -len(tokens) % VOCABULARY_MULTIPLE
    return Vocabulary(tokens + [f"<|unused{i}|>" for i in range(unused)], merges, "tekken")


def random_weights(
    shape: Shape, tokens: list[str], dtype: type[np.floating[Any]]
) -> dict[str, NDArray[np.floating[Any]]]:
    """Seeded Gaussian tensors by GGUF name, shapes (n_out, n_in), each of standard deviation
    1/sqrt(n_in).

    Hidden dimension 0 is the constant 1 (embedded so, and no layer writes to it), hence a bias on
    the logits. It leaves only printable ASCII to be sampled: no END, so a stream ends at
    `max_tokens`, and no partial UTF-8, so each token is one chunk.
    """
    shapes = _matrices(shape, len(tokens))
    seeds = np.random.SeedSequence(WEIGHTS_SEED).spawn(len(shapes))

    def gaussian(seed: np.random.SeedSequence, size: tuple[int, int]) -> NDArray[np.float32]:
        drawn = np.random.default_rng(seed).standard_normal(size, dtype=np.float32)
        drawn /= np.float32(np.sqrt(size[1]))
        return drawn

    def matrix(job: tuple[np.random.SeedSequence, str]) -> NDArray[np.floating[Any]]:
        seed, name = job
        drawn = gaussian(seed, shapes[name])
        if name == "token_embd.weight":
            drawn[:, 0] = 1.0
        elif name == "output.weight":
            drawn[:, 0] = [0.0 if _is_printable(token) else NEVER_SAMPLED for token in tokens]
        elif name.endswith(("attn_output.weight", "ffn_down.weight")):
            drawn[0] = 0.0
        return drawn.astype(dtype)

    with ThreadPoolExecutor() as threads:  # numpy draws outside the interpreter's lock
        weights = dict(
            zip(shapes, threads.map(matrix, zip(seeds, shapes, strict=True)), strict=True)
        )
    norm = np.ones(shape.hidden, dtype=np.float32)
    blocks = [
        f"blk.{layer}.{part}_norm" for layer in range(shape.layers) for part in ("attn", "ffn")
    ]
    return weights | {f"{name}.weight": norm for name in ("output_norm", *blocks)}


def _matrices(shape: Shape, vocabulary_tokens: int) -> dict[str, tuple[int, int]]:
    hidden, kv = shape.hidden, shape.kv_heads * shape.head_width
    block = {
        "attn_q": (hidden, hidden),
        "attn_k": (kv, hidden),
        "attn_v": (kv, hidden),
        "attn_output": (hidden, hidden),
        "ffn_gate": (shape.feed_forward, hidden),
        "ffn_up": (shape.feed_forward, hidden),
        "ffn_down": (hidden, shape.feed_forward),
    }
    blocks = (
        (f"blk.{i}.{name}", size) for i in range(shape.layers) for name, size in block.items()
    )
    ends = [(name, (vocabulary_tokens, hidden)) for name in ("token_embd", "output")]
    return {f"{name}.weight": size for name, size in chain(ends, blocks)}


def _is_printable(token: str) -> bool:
    return token.replace("Ġ", "").isascii() and not (
        token.startswith("<|") and token.endswith("|>")
    )


def write_model(
    path: Path,
    name: str,
    shape: Shape,
    vocabulary: Vocabulary,
    dtype: type[np.floating[Any]] = np.float16,
) -> None:
    """Write the model as GGUF: hyperparameters, vocabulary, chat template, weights."""
    tokens = vocabulary.tokens
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre_tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types([_token_type(token) for token in tokens])
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(tokens.index(TURN))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    for tensor_name, tensor in random_weights(shape, tokens, dtype).items():
        writer.add_tensor(tensor_name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _token_type(token: str) -> gguf.TokenType:
    if token in (TURN, END):
        return gguf.TokenType.CONTROL
    return gguf.TokenType.UNUSED if token.startswith("<|unused") else gguf.TokenType.NORMAL


def main() -> None:
    parser = argparse.ArgumentParser(prog="random_model.py", description=__doc__)
    parser.add_argument("file", type=Path, help="where the model goes, a .gguf")
    parser.add_argument("--size", choices=SIZES, default="3b")
    options = parser.parse_args()
    shape = SIZES[options.size]
    write_model(options.file, f"random-{options.size}", shape, embedded_vocabulary())
    size_gb = options.file.stat().st_size / 1e9
    print(f"{options.file}: {size_gb:.2f} GB, {shape.kv_bytes_per_token():,} KV bytes a token")


if __name__ == "__main__":
    main()
