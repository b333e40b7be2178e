"""ChatClient: one developer's requests over one kept connection, each seen as an Observation."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenswarm.client.clock import Clock
from tokenswarm.client.connection import Buffer, ConnectFailed, Connection, Overdue, cause
from tokenswarm.client.dialects import CHAT, Dialect
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.headers import HeaderField, Identity
from tokenswarm.client.observation import Observation
from tokenswarm.client.reply import FINISH_GRACE_S, Reply
from tokenswarm.client.response import HttpResponse
from tokenswarm.client.tls import tls_context

__all__ = ["ChatClient", "RequestFailed", "Timeouts", "tls_context"]

# After an error's head: the body only says which error (guess).
ERROR_BODY_S = 2.0
# After [DONE]: servers send the last HTTP chunk at once (guess); else the connection is dropped.
LINGER_S = 0.05
# For the small requests before a run (guess).
GET_S = 30.0
MAX_GET_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds: for the connection with its TLS; for the first output since
    sent_at, sending included; for the next output or the end once output has begun."""

    connect_s: float = 10.0
    first_token_s: float = 600.0
    stall_s: float = 120.0


class RequestFailed(Exception):
    """A GET without an answer. kind is one of tokenswarm.measure.record.FAILURE_KINDS."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class _Unasked(Exception):
    """An answer came on a kept connection before the request was complete."""


@dataclass(slots=True)
class _Turn:
    reply: Reply
    new_connection: bool = False
    sent_at: float | None = None
    body_sent_at: float | None = None
    seen_at: float = 0.0  # sent_at, then the stamp of the last read

    def observation(self, now: float) -> Observation:
        return self.reply.observation(
            sent_at=self.sent_at,
            body_sent_at=self.body_sent_at,
            new_connection=self.new_connection,
            now=now,
        )


class ChatClient:
    """Sends turns one after the other; not to be shared by greenlets.

    Whatever a server does ends as an Observation. There are no retries: a kept connection that
    the server has closed, or on which it has answered before the request was complete, is noticed
    and replaced, and that is all. A killed `send` leaves what it saw in `partial`. Raises
    ValueError for settings that cannot work.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        api_key: str | None,
        timeouts: Timeouts,
        tls: ssl.SSLContext | None,
        dialect: Dialect = CHAT,
        headers: Sequence[HeaderField] = (),
        secrets: Sequence[str] = (),
        kernel_stamps: bool = True,
        engine_stamps: bool = False,
    ) -> None:
        """headers: more of every request's; they replace ours of the same name. secrets: in the
        endpoint's query. engine_stamps: when chunks came is what the embedded engine says, in
        driven time."""
        if endpoint.secure and tls is None:
            raise ValueError(f"{endpoint} needs a TLS context")
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("the API key holds characters a header cannot carry")
        self.partial: Observation | None = None
        self._endpoint = endpoint
        self._api_key = api_key or None
        self._headers = headers
        held = (secret for header in headers for secret in header.secrets)
        self._secrets = tuple(filter(None, (api_key, *secrets, *held)))
        self._timeouts = timeouts
        self._dialect = dialect
        self._tls = tls if endpoint.secure else None
        self._kernel_stamps = kernel_stamps
        self._engine_stamps = engine_stamps
        self._clock = Clock()
        self._connection: Connection | None = None

    def send(
        self,
        segments: Sequence[Buffer],
        body_bytes: int,
        *,
        cancel_after_chunks: int | None = None,
        max_tokens: int | None = None,
        headers: bytes = b"",
        identity: Identity | None = None,
        on_sent: Callable[[], None] | None = None,
    ) -> Observation:
        """POST the segments as one request of the dialect and read the stream to its end.

        body_bytes: their length in all. cancel_after_chunks: hang up after that many output
        chunks, outcome "cancelled". max_tokens: as asked for; an answer far beyond it, which has
        no end, is left, outcome "endless". headers: more of them, each line with its CRLF.
        identity: whose turn it is. on_sent: called once the server has, or has answered, the whole
        request.
        """
        reply = Reply(
            parse=self._dialect.parse,
            cancel_after_chunks=cancel_after_chunks,
            max_tokens=max_tokens,
            secrets=self._secrets,
            engine_stamps=self._engine_stamps,
        )
        turn = _Turn(reply)
        self.partial = None
        try:
            named = b"" if identity is None else identity.lines()
            head = self._post_head(body_bytes, headers + named)
            self._exchange(turn, [head, *segments], on_sent)
        except ConnectFailed as failure:
            reply.fail(failure.kind, failure.detail, self._clock.now())
        except Overdue:
            reply.overdue(self._clock.now())
        except ssl.SSLError as error:
            reply.fail("tls", cause(error), self._clock.now())
        except OSError as error:
            reply.cut(cause(error), self._clock.now())
        except BaseException:  # the run ends, or a bug: what was seen is kept either way
            self.close()
            self.partial = turn.observation(self._clock.now())
            raise
        if turn.body_sent_at is None or not reply.reusable:
            self.close()
        elif self._connection is not None:
            self._connection.rest()
        if identity is not None:
            identity.heard(reply.headers)
        return turn.observation(self._clock.now())

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, header fields (names in lower case) and body of a small GET, such as
        "/v1/models". Raises RequestFailed."""
        return self._small("GET", path, b"", GET_S)

    def post(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """As `get`, with JSON; waits for an answer as long as for a first token."""
        return self._small("POST", path, body, self._timeouts.first_token_s)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(
        self, turn: _Turn, segments: Sequence[Buffer], on_sent: Callable[[], None] | None
    ) -> None:
        reply = turn.reply
        connection, turn.new_connection = self._connected()
        try:
            self._hand_over(connection, turn, segments)
        except _Unasked:
            # The server has not seen a whole request, so none is sent twice.
            self.close()
            connection, turn.new_connection = self._connected()
            self._hand_over(connection, turn, segments)
        if on_sent is not None and (turn.body_sent_at is not None or reply.head_at is not None):
            on_sent()
        while reply.outcome is None:
            self._read(connection, turn)
        if reply.outcome in ("ok", "empty", "withheld"):
            self._linger(connection, turn)

    def _hand_over(self, connection: Connection, turn: _Turn, segments: Sequence[Buffer]) -> None:
        """Raises _Unasked. What arrives later than the last segment is taken as the answer: nothing
        tells a late second one from it."""
        reused = not turn.new_connection
        self._clock.resample()
        turn.sent_at = turn.seen_at = self._clock.now()

        def answered() -> bool:
            if reused and connection.unasked():
                raise _Unasked
            self._read(connection, turn)
            return turn.reply.outcome is not None

        def due_at() -> float:
            return self._due_at(turn)

        try:
            if reused:
                segments, last = segments[:-1], segments[-1:]
                if not connection.send(segments, due_at, answered):
                    return
                if connection.unasked():
                    raise _Unasked
                segments = last
            if connection.send(segments, due_at, answered):
                turn.body_sent_at = self._clock.now()
        except ConnectionError:
            pass  # it hung up on us; what it said before that is still to be read

    def _read(self, connection: Connection, turn: _Turn) -> None:
        received, stamp = connection.receive(self._due_at(turn), turn.seen_at)
        turn.seen_at = stamp.at_s
        if received:
            turn.reply.feed(received, stamp)
        else:
            turn.reply.cut("the server closed the connection", stamp.at_s)

    def _linger(self, connection: Connection, turn: _Turn) -> None:
        """Let the HTTP message end, so that the connection can be kept."""
        due_at = self._clock.now() + LINGER_S
        try:
            while not turn.reply.settled:
                received, stamp = connection.receive(due_at, turn.seen_at)
                if not received:
                    return
                turn.reply.feed(received, stamp)
        except (Overdue, OSError):
            return  # the turn is complete; an unsettled connection is not kept

    def _due_at(self, turn: _Turn) -> float:
        reply = turn.reply
        if reply.refused and reply.head_at is not None:
            return reply.head_at + ERROR_BODY_S
        if reply.finished_at is not None:
            return reply.finished_at + FINISH_GRACE_S
        if reply.heard_at is not None:
            return reply.heard_at + self._timeouts.stall_s
        return (turn.sent_at or 0.0) + self._timeouts.first_token_s

    def _small(
        self, method: str, path: str, body: bytes, limit_s: float
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            return self._ask(method, path, body, limit_s)
        except BaseException as error:
            self.close()
            if isinstance(error, ConnectFailed):
                raise RequestFailed(error.kind, error.detail) from error
            if isinstance(error, Overdue):
                detail = f"no answer to {method} {path.partition('?')[0]} within {limit_s:g} s"
                raise RequestFailed("first_token_timeout", detail) from None
            if isinstance(error, OSError):
                kind = "tls" if isinstance(error, ssl.SSLError) else "connect"
                raise RequestFailed(kind, cause(error)) from error
            raise

    def _ask(
        self, method: str, path: str, body: bytes, limit_s: float
    ) -> tuple[int, dict[str, str], bytes]:
        connection, _ = self._connected()
        response = HttpResponse()
        answer = bytearray()
        shown = path.partition("?")[0]  # a query may hold a secret
        sent_at = self._clock.now()
        due_at = sent_at + limit_s
        more = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        head = self._head(method, path, "*/*") + f"{more}\r\n".encode()
        connection.send([head, body], lambda: due_at, lambda: True)
        while not response.complete:
            received, _ = connection.receive(due_at, sent_at)
            if not received:
                break
            answer += response.feed(received)
            if len(answer) > MAX_GET_BYTES:
                response.flaw = f"more than {MAX_GET_BYTES} bytes in answer to {method} {shown}"
            if response.flaw is not None:
                raise RequestFailed("malformed", response.flaw)
        if response.status is None or (response.framed and not response.complete):
            raise RequestFailed("truncated", f"closed in the answer to {method} {shown}")
        if not (response.complete and response.keep_alive):
            self.close()
        else:
            connection.rest()
        return response.status, response.headers, bytes(answer)

    def _connected(self) -> tuple[Connection, bool]:
        """The kept connection, or a new one and True. Raises ConnectFailed."""
        if self._connection is not None and self._connection.idle():
            return self._connection, False
        self.close()
        self._connection = Connection.open(
            self._endpoint,
            self._tls,
            self._clock,
            timeout_s=self._timeouts.connect_s,
            kernel_stamps=self._kernel_stamps,
        )
        return self._connection, True

    def _post_head(self, body_bytes: int, headers: bytes) -> bytes:
        head = self._head("POST", self._endpoint.path(self._dialect.call), "text/event-stream")
        return (
            head
            + headers
            + f"Content-Type: application/json\r\nContent-Length: {body_bytes}\r\n\r\n".encode()
        )

    def _head(self, method: str, path: str, accept: str) -> bytes:
        fields = [
            ("Host", self._endpoint.authority),
            ("User-Agent", "tokenswarm"),
            ("Accept", accept),
            ("Accept-Encoding", "identity"),
            *self._dialect.headers,
        ]
        if self._api_key:
            name, scheme = self._dialect.key_field
            fields.append((name, scheme + self._api_key))
        fields += [(header.name, header.value) for header in self._headers]
        last = {name.lower(): (name, value) for name, value in fields}
        lines = "".join(f"{name}: {value}\r\n" for name, value in last.values())
        return f"{method} {path} HTTP/1.1\r\n{lines}".encode("ascii")
