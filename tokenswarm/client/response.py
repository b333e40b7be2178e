"""One HTTP/1.1 response, incremental: head fields and body bytes out of llhttp. Sans-I/O."""

from __future__ import annotations

import httptools

# Response head, chunk framing and trailers; nginx and uvicorn stop at 8-64 KB of head.
MAX_FRAMING_BYTES = 256 * 1024


class HttpResponse:
    """Feed it what the connection yields. 1xx responses are skipped; `status` and `headers`
    (names in lower case) are those of the final one, None and {} until its head is complete.
    `flaw` says why the bytes are no HTTP response; what came before it still counts."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.flaw: str | None = None
        self.headers: dict[str, str] = {}
        self.complete = False  # the message ended by its own framing
        self.keep_alive = False  # the connection may carry another request
        self._body: list[bytes] = []
        self._head: dict[str, str] = {}
        self._framing_bytes = 0
        self._parser = httptools.HttpResponseParser(self)

    @property
    def coding(self) -> str | None:
        """A coding of the body other than identity and chunks: nothing here decodes it."""
        for field in ("content-encoding", "transfer-encoding"):
            for coding in self.headers.get(field, "").lower().split(","):
                if coding.strip() not in ("", "identity", "chunked"):
                    return f"{field} {coding.strip()}"
        return None

    @property
    def framed(self) -> bool:
        """The body says where it ends; otherwise the end of the connection is its end."""
        return not self.headers.keys().isdisjoint(("content-length", "transfer-encoding"))

    def feed(self, received: bytes) -> bytes:
        """The part of the body in these bytes."""
        if self.complete or self.flaw:
            self.keep_alive = False  # it talks without being asked
            return b""
        self._framing_bytes += len(received)
        try:
            self._parser.feed_data(received)
        except httptools.HttpParserUpgrade:
            self.flaw = "the server switched protocols"
        except httptools.HttpParserError as error:
            self.flaw = f"not HTTP: {error}"
        if self._framing_bytes > MAX_FRAMING_BYTES and not self._body:
            self.flaw = f"{MAX_FRAMING_BYTES} bytes of head or framing without an end"
        if not self._body:
            return b""
        self._framing_bytes = 0
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        return body

    # llhttp's callbacks. None may raise: httptools would report our bug as bad HTTP.

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status is None:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            self._head[key] = f"{self._head[key]}, {text}" if key in self._head else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.status is not None:
            return
        if status < 200:
            self._head = {}
            return
        self.status, self.headers = status, self._head
        self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self.status is not None:
            self.complete = True

    def on_message_begin(self) -> None:
        if self.complete:
            self.keep_alive = False
