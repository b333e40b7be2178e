"""llama.cpp with a tiny random-weight model: the real inference engine of the test run.

`running_llama()` serves it from a subprocess; `python -m tests.support.llama --port 8000` by hand.
Slots, batching, prefix reuse, usage and /metrics are llama.cpp's own; only the text is meaningless.
"""

import argparse
import hashlib
import http.client
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

MODEL_NAME = "tiny-random-llama"
N_LAYERS = 2
HIDDEN = 64
FEED_FORWARD = 256
N_HEADS = 2
TRAINED_CONTEXT_TOKENS = 131_072  # llama.cpp caps each slot's context at this
VOCABULARY_TOKENS = 1_000  # 256 bytes, the two control tokens, and merges
WEIGHTS_SEED = 1
# A prompt goes to the slot that holds so much of it, else to the one idle longest: a grown prompt
# finds itself, a new session that shares no more than its prefix leaves the others' slots alone.
SLOT_SIMILARITY = 0.5
PROMPT_CACHE_MIB = 256  # idle prompts kept beside the slots: about 500,000 tokens of 512 bytes
READY_TIMEOUT_S = 30.0  # guess: seen 0.9-1.6 s on two cores, most of it imports

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


def _learn_vocabulary() -> tuple[list[str], list[str]]:
    """Byte-level BPE of a standard library module: tokens by id, and merges as "left right"."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_TOKENS,
        special_tokens=[TURN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([inspect.getsource(argparse)], trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(learned["vocab"], key=learned["vocab"].get)
    return tokens, [" ".join(pair) for pair in learned["merges"]]


def _random_weights(tokens: list[str]) -> dict[str, NDArray[np.float32]]:
    """Seeded Gaussian tensors by GGUF name, shapes (n_out, n_in).

    Hidden dimension 0 is the constant 1 (embedded so, and no layer writes to it), hence a bias on
    the logits. It leaves only printable ASCII to be sampled: no END, so a stream ends at
    `max_tokens`, and no partial UTF-8, so each token is one chunk.
    """
    rng = np.random.default_rng(WEIGHTS_SEED)

    def gaussian(n_out: int, n_in: int) -> NDArray[np.float32]:
        return (rng.standard_normal((n_out, n_in)) / np.sqrt(n_in)).astype(np.float32)

    embedding, logits = gaussian(len(tokens), HIDDEN), gaussian(len(tokens), HIDDEN)
    embedding[:, 0] = 1.0
    printable = [token.replace("Ġ", "").isascii() and token not in (TURN, END) for token in tokens]
    logits[:, 0] = np.where(printable, 0.0, -1e6)
    norm = np.ones(HIDDEN, dtype=np.float32)
    weights = {"token_embd.weight": embedding, "output.weight": logits, "output_norm.weight": norm}
    for layer in range(N_LAYERS):
        block = {f"attn_{name}.weight": gaussian(HIDDEN, HIDDEN) for name in "qkv"}
        block["attn_output.weight"] = gaussian(HIDDEN, HIDDEN)
        block["ffn_gate.weight"] = gaussian(FEED_FORWARD, HIDDEN)
        block["ffn_up.weight"] = gaussian(FEED_FORWARD, HIDDEN)
        block["ffn_down.weight"] = gaussian(HIDDEN, FEED_FORWARD)
        block["attn_output.weight"][0] = block["ffn_down.weight"][0] = 0.0
        block |= {"attn_norm.weight": norm, "ffn_norm.weight": norm}
        weights |= {f"blk.{layer}.{name}": tensor for name, tensor in block.items()}
    return weights


def write_model(path: Path) -> None:
    """Write the model as GGUF (about 1.1 MB): hyperparameters, vocabulary, template, weights."""
    tokens, merges = _learn_vocabulary()
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(MODEL_NAME)
    writer.add_context_length(TRAINED_CONTEXT_TOKENS)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(N_LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_HEADS)
    writer.add_rope_dimension_count(HIDDEN // N_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([control if t in (TURN, END) else normal for t in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokens.index(TURN))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    for name, tensor in _random_weights(tokens).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def cached_model() -> Path:
    """The model's path in the temporary directory, written once per version of this file."""
    version = hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode()).hexdigest()[:12]
    path = Path(tempfile.gettempdir()) / f"{MODEL_NAME}-{version}.gguf"
    if not path.exists():
        unfinished = path.with_suffix(f".{os.getpid()}")
        write_model(unfinished)
        unfinished.replace(path)  # atomic: test runs side by side share the path
    return path


def serve(port: int, parallel: int, ctx_tokens: int) -> None:
    """Serve until killed: `parallel` slots, each with a context of `ctx_tokens`."""
    import xllamacpp  # here, as only the subprocess should load llama.cpp

    params = xllamacpp.CommonParams()
    params.model.path = str(cached_model())
    params.model_alias = {MODEL_NAME}
    params.port = port
    params.n_parallel = parallel
    params.n_ctx = ctx_tokens * parallel
    params.slot_prompt_similarity = SLOT_SIMILARITY
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.endpoint_metrics = True
    params.force_pure_content_parser = True  # random text never is a tool call
    _server = xllamacpp.Server(params)
    signal.pause()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def running_llama(parallel: int = 4, ctx_tokens: int = 32_768) -> Iterator[str]:
    """Base URL of a fresh server, e.g. http://127.0.0.1:40123; killed at the end.

    Raises RuntimeError with the server's last words if it is not ready in READY_TIMEOUT_S.
    """
    port = _free_port()
    command = [sys.executable, "-m", "tests.support.llama", "--port", str(port)]
    command += ["--parallel", str(parallel), "--ctx", str(ctx_tokens)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            give_up_at = time.monotonic() + READY_TIMEOUT_S
            while not _is_healthy(port):
                if process.poll() is not None or time.monotonic() > give_up_at:
                    log.seek(0)
                    raise RuntimeError(f"llama.cpp is not ready: {log.read()[-2000:]!r}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.llama", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--parallel", type=int, default=4, help="slots: streams decoded together")
    parser.add_argument("--ctx", type=int, default=32_768, help="context tokens of each slot")
    options = parser.parse_args()
    serve(options.port, options.parallel, options.ctx)


if __name__ == "__main__":
    main()
