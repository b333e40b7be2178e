"""Dial: a TCP connection to the first address of a name that takes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gevent
from gevent import Greenlet, socket
from gevent.socket import getaddrinfo

from tokenswarm.client.clock import ask_for_stamps

# RFC 8305, section 5: how long an address may be silent before the next is tried beside it.
NEXT_ADDRESS_S = 0.25

Address = tuple[Any, ...]  # as getaddrinfo gives them


def dial(host: str, port: int, *, kernel_stamps: bool) -> socket.socket:
    """A refusal brings the next address at once, silence after NEXT_ADDRESS_S, and who answers
    first is taken. Raises OSError, the first address's, where none does."""
    addresses: Sequence[Address] = getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    if not addresses:
        raise OSError(f"{host} has no address")
    first, *others = addresses
    found = _race(addresses, kernel_stamps) if others else _connect(first, kernel_stamps)
    if isinstance(found, OSError):
        raise found
    return found


def _race(addresses: Sequence[Address], kernel_stamps: bool) -> socket.socket | OSError:
    waiting = list(addresses)
    attempts: list[Greenlet[Any, socket.socket | OSError]] = []
    won: Greenlet[Any, socket.socket | OSError] | None = None
    try:
        while won is None and (waiting or not all(map(Greenlet.ready, attempts))):
            if waiting:
                attempts.append(gevent.spawn(_connect, waiting.pop(0), kernel_stamps))
            under_way = [attempt for attempt in attempts if not attempt.ready()]
            gevent.wait(under_way, timeout=NEXT_ADDRESS_S if waiting else None, count=1)
            won = next((one for one in attempts if isinstance(one.value, socket.socket)), None)
    finally:  # the run's own time-out too
        gevent.killall(attempts)
        for attempt in attempts:
            if attempt is not won and isinstance(attempt.value, socket.socket):
                attempt.value.close()
    found = (attempts[0] if won is None else won).value  # a greenlet that has ended is falsy
    assert found is not None
    return found


def _connect(address: Address, kernel_stamps: bool) -> socket.socket | OSError:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if kernel_stamps:
            ask_for_stamps(sock)
        sock.connect(where)
    except OSError as error:
        sock.close()
        return error
    except BaseException:
        sock.close()
        raise
    return sock
