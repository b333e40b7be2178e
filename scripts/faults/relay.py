"""Relay: a TCP link between a worker and its master that can be cut and mended."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event, Lock, Thread

PIECE_BYTES = 65536


class Relay:
    """Listens on `port`; every connection is passed on to `target_port` of loopback."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flows = Event()  # cleared: bytes are held, no connection is closed
        self._flows.set()
        self._refuses = False
        self._ends: list[socket.socket] = []
        self._lock = Lock()
        Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Connections are closed, with what is under way in them; new ones at once."""
        self._refuses = True
        self._drop()

    def swallow(self) -> None:
        """Connections stay, and nothing arrives: a firewall that has forgotten them. What is sent
        meanwhile comes when the link is mended."""
        self._flows.clear()

    def mend(self) -> None:
        self._refuses = False
        self._flows.set()

    def close(self) -> None:
        self._listener.close()
        self._flows.set()
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:  # the master does not listen yet, or no longer
                near.close()
                continue
            with self._lock:
                self._ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                self._flows.wait()
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
