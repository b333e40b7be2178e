"""An endpoint that keeps every request it gets and answers each with the same short stream, or
from some request on with a refusal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.support.scripted_server import answer, delta, refusal, usage

BYTES_PER_TOKEN = 4  # what it reports; far enough from any tokenizer for a drift to be followed

REFUSAL = b'{"error":{"message":"quota \\u001b[31mexceeded"}}'  # with an escape code
RETRY_AFTER_S = 3600


class RecordingServer(ThreadingHTTPServer):
    """bodies, heads, paths: of the requests for output, in the order in which they were complete;
    the names of headers in lower case. tokens: x-session-token of the next answers."""

    daemon_threads = True

    def __init__(self, refuses_from: int | None) -> None:
        """refuses_from: the first body, by number, that gets REFUSAL; None: none does."""
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.refuses_from = refuses_from
        self.bodies: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.tokens: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RecordingServer

    def do_GET(self) -> None:
        known = self.path == "/v1/models"
        body = json.dumps({"data": [{"id": "recorder"}]} if known else {}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        first = self.server.refuses_from
        self.server.bodies.append(body)
        self.server.heads.append({name.lower(): text for name, text in self.headers.items()})
        self.server.paths.append(self.path)
        if first is not None and len(self.server.bodies) > first:
            self.wfile.write(refusal(429, REFUSAL, f"Retry-After: {RETRY_AFTER_S}"))
            return
        counts = usage(len(body) // BYTES_PER_TOKEN, 2)
        reply = (delta(content="a"), delta(content="b"), delta("length"))
        written = answer(*reply, counts)
        if self.server.tokens:
            line = f"\r\nx-session-token: {self.server.tokens.pop(0)}\r\n".encode()
            written = written.replace(b"\r\n", line, 1)
        self.wfile.write(written)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to standard error for each request."""


@contextmanager
def recording_server(refuses_from: int | None = None) -> Iterator[RecordingServer]:
    with RecordingServer(refuses_from) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
