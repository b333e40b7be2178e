"""The engine as clients meet it: a process of its own, over HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from itertools import pairwise
from statistics import median
from typing import Any, cast

import pytest

from tokenswarm.engine.core.step_time import Coefficients
from tokenswarm.engine.physics.presets import PRESETS

READY = re.compile(r"engine (sim:\S+) \(simulated\) at http://127\.0\.0\.1:(\d+) speed (\S+)\n")
KEY = "a-key"


@contextmanager
def running(*options: str, **environment: str) -> Iterator[int]:
    """An engine on a free port; yields the port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tokenswarm", "engine", "--port", "0", *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert (match := READY.fullmatch(line)), line
        yield int(match[2])
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture(scope="module")
def fast() -> Iterator[int]:
    """Speed 20, default preset."""
    with running("--speed", "20") as port:
        yield port


@pytest.fixture(scope="module")
def small() -> Iterator[int]:
    """One sequence at a time, one in the queue, a short context, a key; real time."""
    options = ["--max-running", "1", "--queue-limit", "1", "--context-tokens", "20000"]
    with running(*options, TOKENSWARM_ENGINE_API_KEY=KEY) as port:
        yield port


def call(port: int, method: str, path: str, body: bytes | None = None, **headers) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    headers.setdefault("Authorization", f"Bearer {KEY}")
    connection.request(method, path, body, headers)
    return connection.getresponse()


def chat(port: int, text: str = "hi", **fields) -> HTTPResponse:
    request = {"model": "sim-model", "messages": [{"role": "user", "content": text}], **fields}
    return call(port, "POST", "/v1/chat/completions", json.dumps(request).encode())


def streamed(response: HTTPResponse) -> list[dict]:
    parts = response.read().split(b"\n\n")
    assert parts.pop() == b""
    assert parts.pop() == b"data: [DONE]"
    return [json.loads(part.removeprefix(b"data: ")) for part in parts]


def metric(port: int, name: str) -> float:
    text = call(port, "GET", "/metrics").read().decode()
    (value,) = re.findall(rf"^{re.escape(name)}{{.*}} (\S+)$", text, re.MULTILINE)
    return float(value)


def settles(port: int, name: str, value: float, within_s: float = 10) -> bool:
    until = time.monotonic() + within_s
    while metric(port, name) != value:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def code_text(num_words: int, mark: str) -> str:
    return " ".join(f"{mark} = {i % 97};" for i in range(num_words))


def test_a_stream_has_a_role_output_a_reason_usage_and_done(fast):
    response = chat(fast, max_tokens=50, stream=True, stream_options={"include_usage": True})
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    role, *output, finish, usage = streamed(response)
    assert role["choices"][0]["delta"]["role"] == "assistant"
    assert all(chunk["choices"][0]["delta"]["content"] for chunk in output)
    counts = [chunk["x_sim_tokens"] for chunk in output]
    assert counts[0] == 1 and counts[-1] == 50
    assert all(a < b for a, b in pairwise(counts))
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["completion_tokens"] == 50
    assert usage["usage"]["total_tokens"] == 50 + usage["usage"]["prompt_tokens"]


def test_every_response_says_that_it_is_simulated(fast):
    for response in (chat(fast, max_tokens=1), call(fast, "GET", "/nowhere")):
        assert response.headers["x-sim-speed"] == "20"
        assert response.headers["x-sim-engine"] == "sim:trtllm-like"


def test_the_whole_answer_equals_the_streamed_one(fast):
    whole = json.loads(chat(fast, "same", max_tokens=40).read())
    chunks = streamed(chat(fast, "same", max_tokens=40, stream=True))
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert whole["choices"][0]["message"]["content"] == text
    assert whole["usage"]["completion_tokens"] == 40


def test_a_tool_turn_streams_arguments_that_are_json(fast):
    tool = {"type": "function", "function": {"name": "read", "parameters": {"properties": {}}}}
    fields: dict[str, Any] = {
        "tools": [tool],
        "tool_choice": "required",
        "max_tokens": 60,
        "stream": True,
    }
    chunks = streamed(chat(fast, **fields))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert calls[0]["function"]["name"] == "read" and calls[0]["id"]
    assert json.loads("".join(call["function"]["arguments"] for call in calls))
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_cached_tokens_rise_as_a_session_grows(fast):
    messages, cached, prompts = [], [], []
    for turn in range(4):
        messages.append({"role": "user", "content": code_text(400, f"grow{turn}")})
        usage = json.loads(chat(fast, messages=messages, max_tokens=4).read())["usage"]
        cached.append(usage["prompt_tokens_details"]["cached_tokens"])
        prompts.append(usage["prompt_tokens"])
        messages.append({"role": "assistant", "content": "scripted"})
    assert cached[0] == 0
    assert all(hit % 64 == 0 for hit in cached)
    for before, hit in zip(prompts, cached[1:], strict=False):
        assert before - 64 - 3 < hit <= before  # all of the last prompt but its last block


def test_reset_empties_the_cache_and_the_counters(fast):
    text = code_text(300, "reset")
    chat(fast, text, max_tokens=2).read()
    assert metric(fast, "vllm:prompt_tokens_total") > 0
    assert call(fast, "POST", "/sim/reset").status == 200
    assert metric(fast, "vllm:prompt_tokens_total") == 0
    usage = json.loads(chat(fast, text, max_tokens=2).read())["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0


def test_metrics_count_what_was_asked(fast):
    call(fast, "POST", "/sim/reset")
    prompt_tokens = 0
    for i in range(3):
        usage = json.loads(chat(fast, code_text(50, f"m{i}"), max_tokens=30).read())["usage"]
        prompt_tokens += usage["prompt_tokens"]
    assert metric(fast, "vllm:prompt_tokens_total") == prompt_tokens
    assert metric(fast, "vllm:prefix_cache_queries_total") == prompt_tokens
    assert metric(fast, "vllm:prefix_cache_hits_total") == 0
    assert metric(fast, "vllm:generation_tokens_total") == 90
    assert metric(fast, "vllm:time_to_first_token_seconds_count") == 3
    assert metric(fast, "vllm:num_requests_running") == 0
    assert metric(fast, "vllm:num_requests_waiting") == 0
    assert metric(fast, "vllm:kv_cache_usage_perc") == 0
    assert metric(fast, "vllm:num_preemptions_total") == 0
    drafted = metric(fast, "vllm:spec_decode_num_draft_tokens_total")
    assert 0 < metric(fast, "vllm:spec_decode_num_accepted_tokens_total") < drafted
    assert metric(fast, "sim:step_lateness_p99_seconds") >= 0


def test_info_says_simulated_and_what_runs(fast):
    chat(fast, max_tokens=1).read()
    info = json.loads(call(fast, "GET", "/sim/info").read())
    assert info["simulated"] is True
    assert (info["engine"], info["speed"], info["gpus"]) == ("sim:trtllm-like", 20, 4)
    assert (info["seed"], info["tokenizer"]) == (0, "embedded")
    assert (info["attention"], info["ranks"]) == ("tensor_parallel", 1)
    assert info["host_kv_tokens"] == PRESETS["trtllm-like"].host.kv_tokens
    assert info["lateness_p99_s"] >= 0


def test_models_and_health(fast):
    (model,) = json.loads(call(fast, "GET", "/v1/models").read())["data"]
    assert model["id"] == "sim-model"
    assert call(fast, "GET", "/health").status == 200


def test_ttft_in_engine_seconds_is_near_the_formula_at_speed_20(fast):
    """One cold chunk of n tokens: 0.08 + (0.0344 + n * (20.3e-6 + 4.75e-10 * n / 2)) / 0.87 s."""
    c = cast(Coefficients, PRESETS["trtllm-like"].cost)
    ttfts = []
    for i in range(7):
        fields = {"max_tokens": 2, "stream": True, "stream_options": {"include_usage": True}}
        started_at = time.monotonic()
        response = chat(fast, code_text(1_000, f"t{i}"), **fields)
        response.readline()
        ttfts.append((time.monotonic() - started_at) * 20)
        usage = json.loads(response.read().split(b"\n\n")[-3].removeprefix(b"data: "))["usage"]
    n = usage["prompt_tokens"]
    assert n < PRESETS["trtllm-like"].policy.chunk_tokens
    expected_s = 0.08 + (c.t0_s + n * (c.a1_s + c.a2_s * n / 2)) / c.s_pf
    # A busy machine adds wall milliseconds, each 20 engine milliseconds; nothing makes it faster.
    assert expected_s * 0.99 < median(ttfts) < expected_s * 3 + 1


def test_at_speed_1_every_engine_step_is_a_chunk():
    with running("--preset", "together-like", "--seed", "5") as port:
        chunks = streamed(chat(port, max_tokens=40, stream=True))
        steps = metric(port, "sim:engine_steps_total")
    output = [c for c in chunks if c["choices"][0]["delta"].get("content")]
    gains = [b["x_sim_tokens"] - a["x_sim_tokens"] for a, b in pairwise(output)]
    # A write that a busy machine delays may hold two steps.
    assert steps - 4 <= len(output) <= steps
    assert 1 < sum(gains) / len(gains) < 5


def test_a_cancelled_stream_frees_its_blocks(small):
    response = chat(small, code_text(2_000, "gone"), max_tokens=5_000, stream=True)
    response.readline()
    assert metric(small, "vllm:num_requests_running") == 1
    assert metric(small, "vllm:kv_cache_usage_perc") > 0
    response.close()
    assert settles(small, "vllm:num_requests_running", 0)
    assert metric(small, "vllm:kv_cache_usage_perc") == 0
    assert metric(small, "sim:requests_cancelled_total") >= 1


def test_the_queue_limit_answers_429_with_retry_after(small):
    held = [chat(small, max_tokens=5_000, stream=True)]
    assert settles(small, "vllm:num_requests_running", 1)
    held.append(chat(small, max_tokens=5_000, stream=True))
    refused = chat(small, max_tokens=5)
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert json.loads(refused.read())["error"]["code"] == "rate_limit_exceeded"
    for response in held:
        response.close()
    assert settles(small, "vllm:num_requests_running", 0)
    assert settles(small, "vllm:num_requests_waiting", 0)


ERRORS = [
    (b"{", 400, "invalid_json"),
    (b'{"model": "sim-model", "messages": []}', 400, None),
    (b'{"model": "sim-model", "messages": [{"content": "no role"}]}', 400, None),
    (b'{"model": "sim-model", "messages": [{"role": "user"}], "max_tokens": 0}', 400, None),
    (b'{"model": "gpt-9", "messages": [{"role": "user"}]}', 404, "model_not_found"),
    (
        b'{"model": "sim-model", "messages": [{"role": "user"}], "max_tokens": 1000000000}',
        400,
        "context_length_exceeded",
    ),
    (
        json.dumps(
            {"model": "sim-model", "messages": [{"role": "user", "content": "word " * 25_000}]}
        ).encode(),
        400,
        "context_length_exceeded",
    ),
]


@pytest.mark.parametrize(("body", "status", "code"), ERRORS)
def test_bad_requests_are_errors_in_openais_form(small, body, status, code):
    response = call(small, "POST", "/v1/chat/completions", body)
    assert response.status == status
    error = json.loads(response.read())["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code


@pytest.mark.parametrize("key", ["Bearer wrong", "", KEY])
def test_a_wrong_key_is_401(small, key):
    response = call(small, "GET", "/v1/models", Authorization=key)
    assert response.status == 401
    assert json.loads(response.read())["error"]["code"] == "invalid_api_key"


def test_unknown_paths_and_wrong_methods(small):
    assert call(small, "GET", "/v2/nothing").status == 404
    assert call(small, "GET", "/v1/chat/completions").status == 405
    assert call(small, "GET", "/sim/reset").status == 405


def test_a_page_of_another_site_cannot_reset_it(small):
    """A browser sends such a POST without asking first; its own pages and tools may."""
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        response = call(small, "POST", "/sim/reset", Origin=origin)
        assert response.status == 403
        assert json.loads(response.read())["error"]["code"] == "cross_site"
    own = f"http://127.0.0.1:{small}"
    assert call(small, "POST", "/sim/reset", Origin=own).status == 200


def test_a_body_of_100_mb_is_413_and_the_engine_lives(small):
    response = call(small, "POST", "/v1/chat/completions", b" " * 100_000_000)
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "request_too_large"
    assert chat(small, max_tokens=2).status == 200


def test_a_body_of_unannounced_size_is_cut_off_too(small):
    def endless():
        for _ in range(66):
            yield b" " * 1024**2

    response = call(small, "POST", "/v1/chat/completions", endless())  # chunked
    assert response.status == 413


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--preset", "vllm"], "--preset"),
        (["--speed", "0"], "--speed"),
        (["--speed", "fast"], "--speed"),
        (["--kv-tokens", "12"], "--kv-tokens"),
        (["--host-kv-tokens", "12"], "--host-kv-tokens"),
        (["--context-tokens", "many"], "--context-tokens"),
        (["--port", "70000"], "--port"),
        (["--max-running", "-3"], "--max-running"),
        (["--seed", "x"], "--seed"),
        (["--tokenizer", "/no/such/folder"], "--tokenizer"),
    ],
)
def test_a_bad_option_is_named_with_its_value_and_what_is_accepted(options, said):
    run = subprocess.run(
        [sys.executable, "-m", "tokenswarm", "engine", "--port", "0", *options],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    last = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert said in last and options[1] in last
    assert "accepted" in last or "choose from" in last


def test_sizes_are_written_as_in_what_ifs():
    with running("--kv-tokens", "500k", "--host-kv-tokens", "2M", "--context-tokens", "8k") as port:
        info = json.loads(call(port, "GET", "/sim/info").read())
    sizes = [info[name] for name in ("kv_tokens", "host_kv_tokens", "context_tokens")]
    assert sizes == [500_000, 2_000_000, 8_000]


def test_a_port_in_use_is_said_plainly(fast):
    run = subprocess.run(
        [sys.executable, "-m", "tokenswarm", "engine", "--port", str(fast)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2
    assert f"--port {fast}" in run.stderr and "in use" in run.stderr
    assert "Traceback" not in run.stderr
