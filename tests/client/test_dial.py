"""Names with several addresses: who is tried when, who is taken, which sockets stay."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import gevent
import pytest

from tokenswarm.client.dial import NEXT_ADDRESS_S, dial


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def black_hole() -> Iterator[socket.socket]:
    """Its queue is full, so the kernel answers no further SYN."""
    with ExitStack() as kept:
        server = kept.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            client = kept.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server


def refusing() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch):
    """Gives the name these addresses, in this order."""

    def name(*addresses: tuple[str, int]) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in addresses]
        monkeypatch.setattr("tokenswarm.client.dial.getaddrinfo", lambda *_: found)

    return name


def dialled() -> tuple[tuple[str, int], float]:
    gevent.sleep(0)  # the loop's clock stood still since its last turn
    began = time.monotonic()
    sock = dial("several.example", 80, kernel_stamps=False)
    with sock:
        return sock.getpeername(), time.monotonic() - began


def test_a_silent_first_address_is_passed_by_after_a_moment(named, listening, black_hole):
    named(black_hole.getsockname(), listening.getsockname())
    where, took_s = dialled()
    assert where == listening.getsockname()
    assert NEXT_ADDRESS_S <= took_s < NEXT_ADDRESS_S + 5  # the kernel alone would take minutes


def test_a_refusal_brings_the_next_at_once(named, listening):
    named(refusing(), refusing(), listening.getsockname())
    assert dialled()[0] == listening.getsockname()


def test_where_nobody_answers_the_first_refusal_is_the_reason(named):
    named(refusing(), refusing())
    with pytest.raises(ConnectionRefusedError):
        dial("several.example", 80, kernel_stamps=False)


def test_a_name_without_addresses_says_so(named):
    named()
    with pytest.raises(OSError, match="several.example has no address"):
        dial("several.example", 80, kernel_stamps=False)


def test_a_deadline_while_all_are_silent_leaves_no_attempt_behind(named, black_hole):
    named(black_hole.getsockname(), black_hole.getsockname())
    with pytest.raises(gevent.Timeout), gevent.Timeout(2 * NEXT_ADDRESS_S):
        dial("several.example", 80, kernel_stamps=False)
    left = [o for o in gc.get_objects() if isinstance(o, gevent.Greenlet) and not o.dead]
    assert left == []
