"""Clients that are slow, endless or talk nonsense, against uvicorn with our protocol."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.hasty_server import BODY_TIMEOUT_S, HEAD_TIMEOUT_S
from tokenswarm.engine.server.protocol import MAX_HEAD_BYTES

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    # A process: threads are greenlets under Locust's patches, and uvicorn would hold them all.
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.hasty_server"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=10)


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection


def all_of(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    received = b""
    while more := connection.recv(65_536):
        received += more
    return received


def error_of(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return int(head.split()[1]), error["code"]


def test_nonsense_is_refused_in_openais_form(port):
    with connected(port) as connection:
        connection.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert error_of(all_of(connection)) == (400, "invalid_http")


def test_a_head_that_comes_byte_by_byte_is_cut_off_in_time(port):
    with connected(port) as connection:
        started_at = time.monotonic()
        for byte in b"GET / HTTP/1.1\r\nHost: ":
            connection.send(bytes([byte]))
            time.sleep(0.005)
        assert error_of(all_of(connection)) == (408, "request_timeout")
        assert time.monotonic() - started_at > HEAD_TIMEOUT_S * 0.9


def test_a_connection_that_says_nothing_is_closed(port):
    with connected(port) as connection:
        assert error_of(all_of(connection)) == (408, "request_timeout")


def test_a_head_without_end_is_cut_off_by_its_size(port):
    with connected(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        sent = 0
        with pytest.raises(OSError):
            while sent < 500 * MAX_HEAD_BYTES:
                sent += connection.send(b"x" * 16_384)
        assert sent < 300 * MAX_HEAD_BYTES  # what fits the kernel's buffers


# Little enough that the server reads it with the head: what it had left unread would make its close
# a reset, and the kernel would drop the answer.
HALF_A_BODY = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n" + b"x" * 1_000
)


def test_900_bodies_that_stay_half_are_dropped_in_time(port):
    """Each with an answer, and its connection with it: none waits for the rest."""
    halves: list[socket.socket] = []
    try:
        for _ in range(900):
            halves.append(socket.create_connection(("127.0.0.1", port), timeout=30))
            halves[-1].sendall(HALF_A_BODY)  # at once: the time of its head runs
        started_at = time.monotonic()
        for connection in halves:
            assert error_of(all_of(connection)) == (408, "request_timeout")
        assert time.monotonic() - started_at < 30 * BODY_TIMEOUT_S
    finally:
        for connection in halves:
            connection.close()


def test_a_body_that_drips_is_dropped_in_time(port):
    with connected(port) as connection:
        connection.sendall(HALF_A_BODY)
        dripped = 0
        with pytest.raises(OSError):  # it writes to a connection that is closed
            while dripped < 200:
                connection.send(b"x")
                dripped += 1
                time.sleep(BODY_TIMEOUT_S / 20)
        assert dripped > 10


def test_other_clients_are_served_meanwhile(port):
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    try:
        for connection in slow:
            connection.send(b"GET / HTTP/1.1\r\nHo")
        with connected(port) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert all_of(connection).startswith(b"HTTP/1.1 200")
    finally:
        for connection in slow:
            connection.close()


def test_pipelined_requests_are_answered_in_order(port):
    with connected(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 9)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert all_of(connection).count(b"HTTP/1.1 200") == 10


def test_junk_behind_a_request_never_lands_in_its_answer(port):
    with connected(port) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + b"\x00junk\r\n\r\n")
        assert b"error" not in all_of(connection)


def test_a_pipelined_head_that_never_ends_does_not_cost_the_answer_before_it(port):
    with connected(port) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET / HT")
        answer = all_of(connection)
    assert b"one" in answer and b"two" in answer
    assert b"request_timeout" in answer  # and then its own


def test_a_head_in_time_is_never_cut_off_while_it_is_answered(port):
    with connected(port) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = all_of(connection)
    assert b"one" in answer and b"two" in answer
