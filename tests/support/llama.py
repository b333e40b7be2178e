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

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from scripts.real import random_model
from scripts.real.random_model import END, SIZES, TURN, Vocabulary, write_model

MODEL_NAME = "tiny-random-llama"
VOCABULARY_TOKENS = 1_000  # 256 bytes, the two control tokens, and merges
# A prompt goes to the slot that holds so much of it, else to the one idle longest: a grown prompt
# finds itself, a new session that shares no more than its prefix leaves the others' slots alone.
SLOT_SIMILARITY = 0.5
PROMPT_CACHE_MIB = 256  # idle prompts kept beside the slots: about 500,000 tokens of 512 bytes
READY_TIMEOUT_S = 30.0  # guess: seen 0.9-1.6 s on two cores, most of it imports


def _learn_vocabulary() -> Vocabulary:
    """Byte-level BPE of a standard library module: a tokenizer that is not the run's."""
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
    return Vocabulary(tokens, [" ".join(pair) for pair in learned["merges"]], "gpt-2")


def cached_model() -> Path:
    """The model's path in the temporary directory, written once per version of its sources."""
    sources = [Path(__file__), Path(random_model.__file__)]
    text = b"".join(source.read_bytes() for source in sources) + sys.version.encode()
    version = hashlib.sha256(text).hexdigest()[:12]
    path = Path(tempfile.gettempdir()) / f"{MODEL_NAME}-{version}.gguf"
    if not path.exists():
        unfinished = path.with_suffix(f".{os.getpid()}")
        write_model(unfinished, MODEL_NAME, SIZES["tiny"], _learn_vocabulary(), np.float32)
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
