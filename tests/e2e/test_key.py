"""The API key goes to the endpoint, and nowhere else."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from tests.support.stack import LADDER, Stack, free_port
from tokenswarm.measure.ledger import read_run

KEY = "secret-key-8f3a"
LISTENING_TIMEOUT_S = 60.0


@pytest.mark.parametrize("forked", [False, True])
def test_no_file_and_no_output_holds_the_key(stack: Stack, forked: bool) -> None:
    url = stack.engine("--speed", "20", key=KEY)
    name = "forked" if forked else "alone"
    run = ("--host", url, "--run-name", name, "--levels", "2M", "--hold", "40s", "--drain", "60s")
    secrets = (
        "--header",
        "X-Team-Key: t-$TOKENSWARM_API_KEY",
        "--query",
        "key=$TOKENSWARM_API_KEY",
    )
    port = str(free_port())
    cluster = ("--processes", "2", "--master-bind-port", port, "--master-port", port)
    report = stack.runs.parent / f"{name}.html"
    finished = stack.locust(
        LADDER,
        *run,
        *secrets,
        "--loglevel",
        "DEBUG",
        "--html",
        str(report),
        *cluster * forked,
        key=KEY,
    )
    assert finished.ran, finished.printed.replace(KEY, "<KEY>")
    assert read_run(stack.runs / name).records  # the key was sent and taken
    assert KEY not in finished.printed
    assert report.exists()
    # The engine's and Locust's output, the report, the run: every file of this stack.
    for path in stack.runs.parent.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


def test_the_key_does_not_travel_between_master_and_workers(stack: Stack) -> None:
    url = stack.engine("--speed", "20", key=KEY)
    name, port = "wire", str(free_port())
    run = ("--host", url, "--run-name", name, "--levels", "2M", "--hold", "40s", "--drain", "60s")
    master = stack.start_locust(
        *(LADDER, "--headless", "--master", "--master-bind-port", port, "--expect-workers", "1"),
        *run,
        key=KEY,
    )
    with listened_to(int(port)) as (listening_port, wire):
        stack.start_locust(LADDER, "--worker", "--master-port", str(listening_port), key=KEY)
        finished = master.wait()
    assert finished.ran, finished.printed.replace(KEY, "<KEY>")
    assert read_run(stack.runs / name).records
    heard = bytes(wire)
    assert b"tokenswarm_terms" in heard and b"scheduled_at_s" in heard  # both ways, in the clear
    assert KEY.encode() not in heard


def connected(port: int) -> socket.socket:
    """A connection to `port`, as soon as somebody listens there: a worker may come before its
    master does."""
    patience = time.monotonic() + LISTENING_TIMEOUT_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > patience:
                raise
            time.sleep(0.05)


@contextmanager
def listened_to(port: int) -> Iterator[tuple[int, bytearray]]:
    """A port that leads to `port`, and everything that passes through it, both ways."""
    heard = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def pass_on(source: socket.socket, target: socket.socket) -> None:
            with suppress(OSError):  # the other direction has closed it
                while data := source.recv(65536):
                    heard.extend(data)
                    target.sendall(data)
            target.close()

        def accept() -> None:
            near, _ = server.accept()
            far = connected(port)
            for ends in ((near, far), (far, near)):
                Thread(target=pass_on, args=ends, daemon=True).start()

        Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], heard
