"""Clients nobody here wrote, and clients nobody wants: curl, deaf ones, random bodies."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.stack import metrics
from tokenswarm.engine.server.body import MAX_BODY_BYTES

CHAT = "/v1/chat/completions"
VALID = {"model": "sim-model", "messages": [{"role": "user", "content": "hi"}]}


class Engine:
    """A process at a high speed, with the preset whose steps are the shortest."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tokenswarm", "engine", "--port", "0", "--speed", "50"),
                *("--preset", "roofline", *options),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        self.url = next(word for word in said.split() if word.startswith("http://"))
        self.port = int(self.url.rpartition(":")[2])

    def call(self, method: str, path: str, body: bytes | None = None) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body)
        return connection.getresponse()

    def connect(self, request: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(request)
        return connection

    def rss_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def settles(self, name: str, value: float, within_s: float = 20) -> bool:
        until = time.monotonic() + within_s
        while metrics(self.url)[name] != value:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    started = Engine()
    try:
        yield started
    finally:
        started.process.terminate()
        started.process.communicate(timeout=10)


def post(**fields) -> bytes:
    body = json.dumps({**VALID, **fields}).encode()
    return b"POST %b HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n%b" % (
        CHAT.encode(),
        len(body),
        body,
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on PATH")
def test_curl_streams_and_sees_errors(engine):
    def curl(**fields) -> str:
        command = ["curl", "-sS", "-N", "-w", "\n%{http_code}", f"{engine.url}{CHAT}", "-d"]
        body = json.dumps({**VALID, **fields})
        run = subprocess.run([*command, body], capture_output=True, text=True, timeout=30)
        assert run.returncode == 0, run.stderr
        return run.stdout

    answer, _, status = curl(max_tokens=20, stream=True).rpartition("\n")
    events = [line.removeprefix("data: ") for line in answer.split("\n\n") if line]
    assert status == "200" and events.pop() == "[DONE]"
    assert json.loads(events[-1])["choices"][0]["finish_reason"] == "length"
    answer, _, status = curl(max_tokens=-1).rpartition("\n")
    assert status == "400" and json.loads(answer)["error"]["param"] == "max_tokens"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on PATH")
def test_curl_asks_leave_for_a_large_body(engine):
    """Above 1 MB curl sends `Expect: 100-continue` and waits a second for the answer."""
    body = json.dumps({**VALID, "user": "x" * 2_000_000, "max_tokens": 1})
    run = subprocess.run(
        ["curl", "-sS", "-w", "%{http_code}", f"{engine.url}{CHAT}", "-d", "@-"],
        input=body,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.stdout.endswith("200"), run.stderr


def test_head_and_options_say_what_get_would(engine):
    head, get = engine.call("HEAD", "/v1/models"), engine.call("GET", "/v1/models")
    assert (head.status, head.read()) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    options = engine.call("OPTIONS", CHAT)
    assert (options.status, options.headers["allow"]) == (204, "OPTIONS, POST")


@pytest.mark.parametrize(
    ("max_tokens", "code"),
    [
        (0, None),
        (-5, None),
        (1.5, None),
        ("100", None),
        (True, None),
        ([], None),
        (10**12, "context_length_exceeded"),
        (10**18, "context_length_exceeded"),
        (10**40, None),  # JSON readers make a float of it
        (262_144, "context_length_exceeded"),
    ],
)
def test_absurd_max_tokens_are_refused(engine, max_tokens, code):
    body = json.dumps({**VALID, "max_tokens": max_tokens}).encode()
    response = engine.call("POST", CHAT, body)
    error = json.loads(response.read())["error"]
    assert (response.status, error["code"], error["param"]) == (400, code, "max_tokens")
    assert error["message"]


def test_info_tells_the_lateness_of_the_latest_stretch_only(engine):
    engine.call("POST", CHAT, json.dumps({**VALID, "max_tokens": 5}).encode()).read()
    for path in ("/sim/info", "/sim/info?last_s=60"):
        info = json.loads(engine.call("GET", path).read())
        assert info["lateness_p99_s"] >= 0 and info["arrival_lateness_p99_s"] >= 0
    for bad in ("x", "-1", "nan", "inf"):
        assert engine.call("GET", f"/sim/info?last_s={bad}").status == 400


def test_a_whole_answer_that_nobody_awaits_any_more_is_cancelled(engine):
    before = metrics(engine.url)["sim:requests_cancelled_total"]
    connection = engine.connect(post(max_tokens=200_000))
    assert engine.settles("vllm:num_requests_running", 1)
    connection.close()
    assert engine.settles("sim:requests_cancelled_total", before + 1)
    assert metrics(engine.url)["vllm:kv_cache_usage_perc"] == 0


def test_clients_that_never_read_cost_little_memory_and_no_blocks(engine):
    """40 answers of 20k tokens are 80 MB of events; the sockets hold what was written of them."""
    before = engine.rss_bytes()
    finished = metrics(engine.url)["sim:requests_finished_total"]
    request = post(max_tokens=20_000, stream=True)
    deaf = []
    for _ in range(40):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", engine.port))
        connection.sendall(request)
        deaf.append(connection)
    try:
        assert engine.settles("sim:requests_finished_total", finished + 40, within_s=60)
        assert engine.rss_bytes() - before < 40_000_000
        assert metrics(engine.url)["vllm:kv_cache_usage_perc"] == 0
        body = json.dumps({**VALID, "max_tokens": 2}).encode()
        assert engine.call("POST", CHAT, body).status == 200
    finally:
        for connection in deaf:
            connection.close()


def test_a_hundred_megabytes_are_refused_before_they_are_read(engine):
    before = engine.rss_bytes()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: e\r\nContent-Length: {100 * 2**20}\r\n\r\n"
    with engine.connect(head.encode()) as connection:
        answer = connection.recv(65_536)  # not a byte of the body is sent
    assert b" 413 " in answer.splitlines()[0]
    assert engine.rss_bytes() - before < MAX_BODY_BYTES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
NAMES = ["role", "content", "tool_calls", "type", "text", "function", "name", "arguments"]
NEARLY = st.recursive(
    st.none() | st.sampled_from(["user", "text", "function", "f"]) | st.integers(0, 3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.binary(max_size=200),
        JSON.map(lambda value: json.dumps(value).encode()),
        st.fixed_dictionaries(
            {"model": st.just("sim-model"), "messages": st.lists(NEARLY, max_size=3)},
            optional={"tools": NEARLY, "tool_choice": NEARLY, "max_tokens": st.integers(-1, 9)},
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_no_body_is_ever_a_server_error(engine, body):
    response = engine.call("POST", CHAT, body)
    said = json.loads(response.read())
    assert response.status in (200, 400, 404)
    if response.status != 200:
        assert set(said["error"]) == {"message", "type", "param", "code"}


def test_after_all_of_this_the_engine_still_answers(engine):
    with urllib.request.urlopen(f"{engine.url}/health", timeout=10) as response:
        assert response.status == 200
    assert engine.settles("vllm:num_requests_running", 0)
    assert engine.process.poll() is None
