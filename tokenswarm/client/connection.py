"""One connection to the endpoint: the only sockets of the tool, plain or TLS, with stamps."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import gevent
import gevent.select
from gevent import socket

from tokenswarm.client.clock import ANCILLARY_BYTES, Clock, Stamp, kernel_ns
from tokenswarm.client.dial import dial
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.readiness import Readiness
from tokenswarm.client.tls import TlsSession

Buffer = bytes | memoryview

# sendmsg takes this many buffers at once on Linux and macOS (limits.h, UIO_MAXIOV).
IOV_MAX = 1024
_READ_BYTES = 64 * 1024
_SUCCESS = re.compile(rb"HTTP/1\.\d 2")
_STATUS_BYTES = 16
# Plaintext encrypted at once: four full TLS records.
_ENCRYPT_BYTES = 64 * 1024


class Overdue(Exception):
    """Nothing arrived before the deadline."""


class ConnectFailed(Exception):
    """No connection. kind: "connect", "connect_timeout" or "tls"."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Connection:
    """Bytes out, bytes with stamps in. Methods raise OSError (ssl.SSLError is one)."""

    def __init__(self, sock: socket.socket, tls: TlsSession | None, clock: Clock) -> None:
        self._sock = sock
        self._tls = tls
        self._clock = clock
        self._sock.settimeout(0.0)  # all waiting is done here
        self._readiness = Readiness(sock.fileno())
        self._early = b""  # decrypted by `unasked`, for `receive`

    @classmethod
    def open(
        cls,
        endpoint: Endpoint,
        context: ssl.SSLContext | None,
        clock: Clock,
        *,
        timeout_s: float,
        kernel_stamps: bool,
    ) -> Connection:
        """Name, TCP and TLS within timeout_s. Raises ConnectFailed."""
        timer = gevent.Timeout(timeout_s)
        try:
            with timer:
                sock = dial(endpoint.host, endpoint.port, kernel_stamps=kernel_stamps)
                try:
                    tls = None if context is None else _secure(sock, context, endpoint.host)
                except BaseException:
                    sock.close()
                    raise
                return cls(sock, tls, clock)
        except gevent.Timeout as raised:
            if raised is not timer:
                raise
            detail = f"no connection within {timeout_s:g} s"
            raise ConnectFailed("connect_timeout", detail) from None
        except ssl.SSLError as error:
            raise ConnectFailed("tls", cause(error)) from error
        except TimeoutError as error:
            raise ConnectFailed("connect_timeout", cause(error)) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name IDNA cannot encode
            raise ConnectFailed("connect", cause(error)) from error

    def close(self) -> None:
        self._readiness.close()
        self._sock.close()

    def rest(self) -> None:
        """Nothing is read until the next request."""
        self._readiness.rest()

    def idle(self) -> bool:
        """Whether a kept connection can carry a request: open, and silent as it should be."""
        try:
            received = self._sock.recv(_READ_BYTES)
            if not received or self._tls is None:
                return False
            self._tls.receive(received)  # TLS 1.3 sends tickets whenever it likes
            return not self._tls.decrypt() and not self._tls.ended
        except BlockingIOError:
            return True
        except OSError:
            return False

    def unasked(self) -> bool:
        """Whether a success is being answered already: to whatever, it cannot be to a request that
        is not complete. A refusal can, by its head alone. What came stays for `receive`."""
        begun = b""
        with suppress(BlockingIOError, ConnectionError):
            if self._tls is None:
                begun = self._sock.recv(_STATUS_BYTES, socket.MSG_PEEK)
            else:
                self._tls.receive(self._sock.recv(_READ_BYTES))
                self._early += self._tls.decrypt()
        return _SUCCESS.match(begun or self._early) is not None

    def send(
        self,
        segments: Sequence[Buffer],
        due_at: Callable[[], float],
        interrupted: Callable[[], bool],
    ) -> bool:
        """Write all segments without joining them; False where the peer's answer came first.

        When the kernel takes no more and something can be read, `interrupted` is called: it
        reads, and says whether to stop. Raises Overdue.
        """
        return all(
            self._write(pieces, due_at, interrupted) for pieces in self._wire_pieces(segments)
        )

    def _write(
        self, pieces: list[Buffer], due_at: Callable[[], float], interrupted: Callable[[], bool]
    ) -> bool:
        while pieces:
            try:
                sent = self._sock.sendmsg(pieces)
            except BlockingIOError:
                if self._wait_for_room(due_at()) and interrupted():
                    return False
            else:
                pieces = unsent(pieces, sent)
        return True

    def receive(self, due_at: float, not_before: float) -> tuple[bytes, Stamp]:
        """The next bytes and their arrival; b"" at the end of the connection. Raises Overdue.

        What arrived in time counts, however late this greenlet gets to read it.
        """
        if self._early:
            early, self._early = self._early, b""
            return early, self._clock.stamp(None, not_before=not_before)
        while True:
            if self._tls is not None and self._tls.ended:
                return b"", Stamp(self._clock.now(), None)
            raw, stamp = self._read(due_at, not_before)
            if self._tls is None or not raw:
                return raw, stamp
            self._tls.receive(raw)
            plain = self._tls.decrypt()
            owed = self._tls.outgoing()  # TLS 1.3 may ask for new keys
            if owed:
                self._write([owed], lambda: due_at, lambda: False)
            if plain:
                return plain, stamp

    def _read(self, due_at: float, not_before: float) -> tuple[bytes, Stamp]:
        while True:
            self._readiness.wait(due_at)
            try:
                raw, ancillary, _, _ = self._sock.recvmsg(_READ_BYTES, ANCILLARY_BYTES)
            except BlockingIOError:
                if self._clock.now() >= due_at:
                    raise Overdue from None
                continue
            stamp = self._clock.stamp(kernel_ns(ancillary), not_before=not_before)
            if stamp.at_s > due_at:
                raise Overdue
            return raw, stamp

    def _wire_pieces(self, segments: Sequence[Buffer]) -> Iterator[list[Buffer]]:
        if self._tls is None:
            for start in range(0, len(segments), IOV_MAX):
                yield list(segments[start : start + IOV_MAX])
            return
        plain = bytearray()
        for segment in segments:
            plain += segment
            if len(plain) >= _ENCRYPT_BYTES:
                yield [self._tls.encrypt(plain)]
                plain.clear()
        if plain:
            yield [self._tls.encrypt(plain)]

    def _wait_for_room(self, due_at: float) -> bool:
        """Until the kernel takes bytes or has some; True if it has some. Raises Overdue."""
        left_s = due_at - self._clock.now()
        if left_s <= 0:
            raise Overdue
        readable, _, _ = gevent.select.select([self._sock], [self._sock], [], left_s)
        return bool(readable)


def unsent(pieces: Sequence[Buffer], sent: int) -> list[Buffer]:
    """What is left of the pieces after `sent` bytes."""
    for i, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[i + 1 :]]
        sent -= len(piece)
    return []


def cause(error: BaseException) -> str:
    """What the system says of it, in words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _secure(sock: socket.socket, context: ssl.SSLContext, server_name: str) -> TlsSession:
    tls = TlsSession(context, server_name)
    done = False
    while not done:
        done = tls.shake()
        try:
            sock.sendall(tls.outgoing())
            if not done:
                tls.receive(sock.recv(_READ_BYTES))
        except ConnectionError as error:
            raise ConnectFailed("tls", f"{cause(error)} in the handshake") from error
    return tls
