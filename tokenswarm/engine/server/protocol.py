"""uvicorn's HTTP protocol with limits on a request's head, and its refusals in OpenAI's form.

uvicorn (0.54, httptools) waits for ever for the end of a head and keeps whatever comes of it: a
client that writes a header byte by byte, or one without end, would hold a connection or memory.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tokenswarm.engine.server.errors import ApiError

HEAD_TIMEOUT_S = 60.0  # nginx's client_header_timeout
MAX_HEAD_BYTES = 64 * 1024  # uvicorn's own limit under h11; read by read, so a read may exceed it


class Protocol(HttpToolsProtocol):
    """One connection. `head_timeout_s` runs from the connection, and from a head's first byte."""

    head_timeout_s = HEAD_TIMEOUT_S
    _head_bytes = 0
    _overdue: asyncio.TimerHandle | None = None  # running while a head is awaited

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._overdue is not None and self._head_bytes > MAX_HEAD_BYTES:
            message = f"the request's head is larger than {MAX_HEAD_BYTES // 1024} KB"
            self._refuse(ApiError(431, message, code="request_head_too_large"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_is_here()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(ApiError(400, msg, code="invalid_http"))

    def _await_head(self) -> None:
        self._head_is_here()
        self._overdue = self.loop.call_later(self.head_timeout_s, self._time_out)

    def _head_is_here(self) -> None:
        self._head_bytes = 0
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _time_out(self) -> None:
        if self._answering:  # the head is of the next, pipelined request: its time has not come
            return self._await_head()
        message = f"the request's head did not come within {self.head_timeout_s:g} s"
        self._refuse(ApiError(408, message, code="request_timeout"))

    def _refuse(self, error: ApiError) -> None:
        self._head_is_here()
        if not self._answering:  # else there is no place for it
            self._write(error)
        self.transport.close()

    def _write(self, error: ApiError) -> None:
        body = error.body()
        head = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
