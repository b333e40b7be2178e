"""Clients that nobody here wrote against ours, on the same engine: do TTFT and TPS agree?

NVIDIA AIPerf, the OpenAI SDK and our own client send the same prompts (AIPerf makes them) to one
embedded engine, one client after the other, cache emptied between them. Each client's means are
compared with the engine's own histograms of that phase, so queueing need not be the same.

    uv venv /tmp/aiperf && uv pip install --python /tmp/aiperf/bin/python aiperf
    python scripts/cross_check.py --aiperf /tmp/aiperf/bin/aiperf

Real time: AIPerf knows no compressed clock. Exit code 1 where a client is off by more than
5% (TTFT: and 50 ms), 2 where AIPerf cannot be run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import Any

import gevent.pool
import orjson
from openai import OpenAI
from tabulate import tabulate
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.stream import ChatClient, Timeouts

LIMIT = 0.05  # relative difference of a mean from the engine's; guess
CLIENT_S = 0.05  # or so much TTFT that a Python client adds itself on a busy machine; guess
PROMPT_CHARS = 16_000
OUTPUT_TOKENS = 200
MODEL = "sim-model"
TOKENIZER = "local/bytes"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Means over the requests of one phase: seconds, tokens per second of one user; totals."""

    requests: int
    ttft_s: float
    tps: float
    prompt_tokens: int
    output_tokens: int


@contextmanager
def engine() -> Iterator[str]:
    """The URL of an engine in real time."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tokenswarm", "engine", "--port", "0", "--model", MODEL],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.stdout.readline() if process.stdout else ""
        yield next(word for word in said.split() if word.startswith("http://"))
    finally:
        process.terminate()
        process.communicate(timeout=10)


def reset(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{url}/sim/reset", method="POST")).close()


def of_the_engine(url: str) -> Seen:
    """What the engine's own counters say since the last reset."""
    text = urllib.request.urlopen(f"{url}/metrics").read().decode()

    def value(name: str) -> float:
        (found,) = re.findall(rf"^vllm:{name}{{.*}} (\S+)$", text, re.MULTILINE)
        return float(found)

    def mean(name: str) -> float:
        return value(f"{name}_sum") / value(f"{name}_count")

    return Seen(
        requests=int(value("e2e_request_latency_seconds_count")),
        ttft_s=mean("time_to_first_token_seconds"),
        tps=1 / mean("request_time_per_output_token_seconds"),
        prompt_tokens=int(value("prompt_tokens_total")),
        output_tokens=int(value("generation_tokens_total")),
    )


def aiperf(command: str, url: str, concurrency: int, requests: int, folder: Path) -> Seen:
    """Leaves the prompts that it made in folder/inputs.json. Raises RuntimeError."""
    environment = {**os.environ, "HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
    write_tokenizer(folder / "hub")
    options = f"--model {MODEL} --url {url} --endpoint-type chat --streaming --ui none"
    options += f" --tokenizer {TOKENIZER} --use-server-token-count"
    options += f" --isl {PROMPT_CHARS} --osl {OUTPUT_TOKENS} --random-seed 1"
    options += f" --concurrency {concurrency} --request-count {requests}"
    options += f" --num-dataset-entries {requests} --output-artifact-dir {folder}"
    ran = subprocess.run(
        [command, "profile", *options.split()], capture_output=True, text=True, env=environment
    )
    try:
        found = json.loads((folder / "profile_export_aiperf.json").read_text())
    except OSError:
        raise RuntimeError(
            f"AIPerf wrote no results:\n{(ran.stdout + ran.stderr)[-2_000:]}"
        ) from None
    if ran.returncode or found.get("error_request_count", {}).get("avg", 0):
        raise RuntimeError(f"AIPerf saw errors:\n{(ran.stdout + ran.stderr)[-2_000:]}")
    return Seen(
        requests=int(found["request_count"]["avg"]),
        ttft_s=found["time_to_first_token"]["avg"] / 1e3,
        tps=1e3 / found["inter_token_latency"]["avg"],
        prompt_tokens=int(found["total_isl"]["avg"]),
        output_tokens=int(found["total_osl"]["avg"]),
    )


def write_tokenizer(cache: Path) -> None:
    """One token a byte, as an entry of a Hugging Face cache: AIPerf wants a tokenizer to write
    prompts with, and offline it takes none but from there."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    entry = cache / f"models--{TOKENIZER.replace('/', '--')}"
    snapshot = entry / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text("0" * 40)
    tokenizer.save(str(snapshot / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "!"}
    (snapshot / "tokenizer_config.json").write_text(json.dumps(about))


def prompts(folder: Path) -> list[list[dict[str, Any]]]:
    """The messages of each request that AIPerf sent."""
    sessions = json.loads((folder / "inputs.json").read_text())["data"]
    return [payload["messages"] for session in sessions for payload in session["payloads"]]


def ours(url: str, asked: list[list[dict[str, Any]]], concurrency: int) -> Seen:
    def ask(messages: list[dict[str, Any]]) -> Any:
        client = ChatClient(Endpoint.parse(url), api_key=None, timeouts=Timeouts(), tls=None)
        fields = {"model": MODEL, "stream": True, "stream_options": {"include_usage": True}}
        body = orjson.dumps({**fields, "messages": messages, "max_tokens": OUTPUT_TOKENS})
        seen = client.send([body], len(body))
        client.close()
        if seen.outcome != "ok":
            raise RuntimeError(f"our client: {seen.outcome}: {seen.detail}")
        return seen

    all_seen = gevent.pool.Pool(concurrency).map(ask, asked)
    return Seen(
        requests=len(all_seen),
        ttft_s=fmean(seen.first_token_at - seen.sent_at for seen in all_seen),
        tps=1 / fmean(time_per_token_s(seen) for seen in all_seen),
        prompt_tokens=sum(seen.prompt_tokens for seen in all_seen),
        output_tokens=sum(seen.output_tokens for seen in all_seen),
    )


def time_per_token_s(seen: Any) -> float:
    first = seen.first_chunk_tokens
    return float((seen.last_token_at - seen.first_token_at) / (seen.output_tokens - first))


def sdk(url: str, asked: list[list[dict[str, Any]]], concurrency: int) -> Seen:
    client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)

    client.models.list()  # what it imports and sets up at its first call

    def ask(messages: list[Any]) -> tuple[float, float, Any]:
        sent_at, times, usage = monotonic(), [], None
        for chunk in client.chat.completions.create(
            model=MODEL,
            messages=messages,
            max_tokens=OUTPUT_TOKENS,
            stream=True,
            stream_options={"include_usage": True},
        ):
            usage = chunk.usage or usage
            if chunk.choices and chunk.choices[0].delta.content:
                times.append(monotonic())
        return times[0] - sent_at, times[-1] - times[0], usage

    with ThreadPoolExecutor(concurrency) as pool:
        answers = list(pool.map(ask, asked))
    return Seen(
        requests=len(answers),
        ttft_s=fmean(ttft_s for ttft_s, _, _ in answers),
        tps=1 / fmean(took_s / (usage.completion_tokens - 1) for _, took_s, usage in answers),
        prompt_tokens=sum(usage.prompt_tokens for _, _, usage in answers),
        output_tokens=sum(usage.completion_tokens for _, _, usage in answers),
    )


def compared(name: str, client: Seen, own: Seen) -> tuple[list[Any], bool]:
    """A row of the table, and whether they agree."""
    ttft, tps = client.ttft_s / own.ttft_s - 1, client.tps / own.tps - 1
    counts = (client.requests, client.prompt_tokens, client.output_tokens)
    same = counts == (own.requests, own.prompt_tokens, own.output_tokens)
    row = [name, *counts, "yes" if same else "NO", client.ttft_s, own.ttft_s, f"{ttft:+.1%}"]
    row += [client.tps, own.tps, f"{tps:+.1%}"]
    near = abs(ttft) <= LIMIT or abs(client.ttft_s - own.ttft_s) <= CLIENT_S
    return row, same and near and abs(tps) <= LIMIT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--aiperf", default="aiperf", help="the command")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--requests", type=int, default=24)
    given = parser.parse_args()
    rows, agree = [], True
    with engine() as url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        phases: list[tuple[str, Callable[[], Seen]]] = [
            (
                "AIPerf",
                lambda: aiperf(given.aiperf, url, given.concurrency, given.requests, folder),
            ),
            ("OpenAI SDK", lambda: sdk(url, prompts(folder), given.concurrency)),
            ("tokenswarm", lambda: ours(url, prompts(folder), given.concurrency)),
        ]
        for client, phase in phases:
            reset(url)
            try:
                seen = phase()
            except (RuntimeError, OSError) as error:
                print(f"cross_check: {client}: {error}", file=sys.stderr)
                return 2
            row, fits = compared(client, seen, of_the_engine(url))
            rows.append(row)
            agree = agree and fits
    heads = ["client", "requests", "prompt tokens", "output tokens", "engine counts the same"]
    heads += ["TTFT s", "engine", "", "TPS", "engine", ""]
    print(tabulate(rows, heads, floatfmt=".4g"))
    print(
        f"simulated engine, means; {'agree' if agree else 'DO NOT AGREE'} within {LIMIT:.0%} "
        f"(TTFT: or {CLIENT_S * 1e3:g} ms)"
    )
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
