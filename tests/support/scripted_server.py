"""A TCP server that does exactly what a script says, in a process of its own.

    with ScriptedServer({"plain": [read(), *stream(events)]}) as server:
        client talks to server.url("plain")
        server.log("plain")     # what was sent and read, with time.monotonic() stamps

Every script has its own port; every connection to it runs the script from its first step and is
closed after the last. The process is separate so that its stamps are the truth whatever the test
process does, and ends with the `with` block or after `lifetime_s`.

Steps (make them with the functions below, all are JSON):
    send(data)          send these bytes; logged with the time just before and just after
    read()              read one whole request (head and Content-Length); logged with both
    sleep(seconds)      wait
    until(seconds)      wait until so long after the last request was read: schedules do not drift
    reset()             close with a TCP reset
    wait_close()        wait until the client closes; logged
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Step = list[Any]
LIFETIME_S = 60.0
MAX_LOGGED_BYTES = 4096  # of a request body


def send(data: bytes) -> Step:
    return ["send", base64.b64encode(data).decode()]


def read() -> Step:
    return ["read"]


def sleep(seconds: float) -> Step:
    return ["sleep", seconds]


def until(seconds: float) -> Step:
    return ["until", seconds]


def reset() -> Step:
    return ["reset"]


def wait_close() -> Step:
    return ["wait_close"]


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(body), body)


def event(payload: object) -> bytes:
    """One server-sent event; bytes are taken as they are, everything else becomes JSON."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return b"data: " + data + b"\n\n"


def delta(finish_reason: str | None = None, **fields: object) -> dict[str, object]:
    """A chat completion chunk with one choice."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


def usage(prompt: int, output: int, *, cached: int | None = None) -> dict[str, object]:
    """A usage-only chunk."""
    details = None if cached is None else {"cached_tokens": cached}
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "prompt_tokens_details": details,
    }
    return {"choices": [], "usage": counts}


def answer(*payloads: object, done: bool = True) -> bytes:
    """A whole streamed answer in one piece: head, one HTTP chunk per event, end."""
    payloads = (*payloads, b"[DONE]") if done else payloads
    return STREAM_HEAD + b"".join(chunk(event(p)) for p in payloads) + LAST_CHUNK


def refusal(status: int, body: bytes, *fields: str) -> bytes:
    """A response with a length."""
    head = "\r\n".join((f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}", *fields))
    return head.encode() + b"\r\n\r\n" + body


class ScriptedServer:
    """The test's side. `certificate` (PEM file of key and chain) makes it speak TLS."""

    def __init__(
        self,
        scripts: Mapping[str, Iterable[Step]],
        *,
        certificate: Path | None = None,
        lifetime_s: float = LIFETIME_S,
    ) -> None:
        self._order = {
            "scripts": {name: list(steps) for name, steps in scripts.items()},
            "certificate": None if certificate is None else str(certificate),
            "lifetime_s": lifetime_s,
        }
        self._scheme = "http" if certificate is None else "https"

    def __enter__(self) -> ScriptedServer:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ports: dict[str, int] = self._ask(self._order)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def url(self, name: str, host: str = "127.0.0.1") -> str:
        return f"{self._scheme}://{host}:{self.ports[name]}"

    def log(self, name: str) -> list[dict[str, Any]]:
        """What this script's connections have done so far, in order: {"connection", "step" (index),
        "what" ("accept", "send", "read", "closed", "error"), "before", "after"}; reads also have
        "head", "body_bytes", "body_sha256" and "body_start" (text, MAX_LOGGED_BYTES at most)."""
        return [entry for entry in self._ask("log") if entry["script"] == name]

    def sends(self, name: str) -> list[dict[str, Any]]:
        return [entry for entry in self.log(name) if entry["what"] == "send"]

    def _ask(self, order: object) -> Any:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class _Script:
    """The server's side: one script on one listening port, a thread per connection."""

    def __init__(
        self, name: str, steps: Sequence[Step], context: ssl.SSLContext | None, log: list[Any]
    ) -> None:
        self._name = name
        self._steps = steps
        self._context = context
        self._log = log
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        connection = 0
        while True:
            sock, _ = self._listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._play, args=(sock, connection), daemon=True).start()
            connection += 1

    def _play(self, sock: socket.socket, connection: int) -> None:
        def note(step: int, what: str, before: float, **more: object) -> None:
            after = time.monotonic()
            self._log.append(
                {"script": self._name, "connection": connection, "step": step, "what": what}
                | {"before": before, "after": after}
                | more
            )

        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            note(-1, "accept", time.monotonic())
            self._play_steps(sock, note)
        except OSError as error:
            note(-1, "error", time.monotonic(), message=str(error))
        finally:
            sock.close()

    def _play_steps(self, sock: socket.socket, note: Any) -> None:
        request_at = time.monotonic()
        for step, (what, *given) in enumerate(self._steps):
            before = time.monotonic()
            if what == "send":
                sock.sendall(base64.b64decode(given[0]))
                note(step, "send", before)
            elif what == "read":
                seen = _read_request(sock)
                request_at = time.monotonic()
                note(step, "read", before, **seen)
            elif what == "sleep":
                time.sleep(given[0])
            elif what == "until":
                time.sleep(max(0.0, request_at + given[0] - time.monotonic()))
            elif what == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            elif what == "wait_close":
                while sock.recv(65536):
                    pass
                note(step, "closed", before)


def _read_request(sock: socket.socket) -> dict[str, object]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(sock)
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    digest, n_bytes, start = hashlib.sha256(body), len(body), body
    while n_bytes < int(fields.get("content-length", 0)):
        piece = _some(sock)
        digest.update(piece)
        n_bytes += len(piece)
        start += piece[: max(0, MAX_LOGGED_BYTES - len(start))]
    return {
        "head": head.decode(),
        "body_bytes": n_bytes,
        "body_sha256": digest.hexdigest(),
        "body_start": start[:MAX_LOGGED_BYTES].decode("latin-1"),
    }


def _some(sock: socket.socket) -> bytes:
    piece = sock.recv(65536)
    if not piece:
        raise ConnectionError("the client closed the connection")
    return piece


def _serve() -> None:
    order = json.loads(sys.stdin.readline())
    threading.Timer(order["lifetime_s"], os._exit, (1,)).start()
    context = None
    if order["certificate"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(order["certificate"])
    log: list[Any] = []
    servers = {name: _Script(name, s, context, log) for name, s in order["scripts"].items()}
    print(json.dumps({name: server.port for name, server in servers.items()}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(log), flush=True)
    os._exit(0)


if __name__ == "__main__":
    _serve()
