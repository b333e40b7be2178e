"""The engine told to stop: streams under way end, and that is no failure."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest

TOKENS = 150  # a second or so in real time
EXIT_LIMIT_S = 40.0


@pytest.fixture
def engine() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process, and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tokenswarm", "engine", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = next(word for word in process.stdout.readline().split() if "http://" in word)
        yield process, int(address.rpartition(":")[2])
    finally:
        process.kill()
        process.communicate(timeout=10)


def stream(port: int, connection: HTTPConnection) -> HTTPResponse:
    fields = {"model": "sim-model", "messages": [{"role": "user", "content": "hi"}]}
    body = json.dumps({**fields, "max_tokens": TOKENS, "stream": True})
    connection.request("POST", "/v1/chat/completions", body)
    return connection.getresponse()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_under_way_ends_and_the_exit_code_is_0(engine, number):
    process, port = engine
    idle, busy = (HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(2))
    idle.request("GET", "/health")  # a kept connection holds nothing up
    idle.getresponse().read()
    response = stream(port, busy)
    begun = response.read1(65_536)
    assert begun and b"[DONE]" not in begun
    process.send_signal(number)
    rest = response.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert f'"x_sim_tokens":{TOKENS}'.encode() in rest
    _, err = process.communicate(timeout=EXIT_LIMIT_S)
    assert (process.returncode, err) == (0, "")


def test_an_idle_engine_stops_at_once(engine):
    process, _ = engine
    process.terminate()
    _, err = process.communicate(timeout=EXIT_LIMIT_S)
    assert (process.returncode, err) == (0, "")
