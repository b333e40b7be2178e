"""Server-sent events, incremental and on bytes: feed chunks, get the `data` of each event."""

from __future__ import annotations

# The largest event worth waiting for: a chat chunk is under a kilobyte (guess).
MAX_EVENT_BYTES = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """One event grew past the limit."""


class NamedEvent(bytes):
    """The data of an event that has a name other than "message", such as "error" or "ping"."""

    name: str


class SseDecoder:
    """Splits a byte stream into events as https://html.spec.whatwg.org/#parsing-an-event-stream
    does: lines end at \\n, \\r\\n or \\r and nowhere else (U+2028 is text), a blank line ends an
    event, of the fields `data` and `event` are kept. The events do not depend on where the bytes
    were split.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []  # pieces of the line that has not ended yet
        self._fields: list[bytes] = []  # data lines of the event that has not ended yet
        self._name = b""  # of the event that has not ended yet
        self._pending_bytes = 0
        self._at_start = True
        self._after_cr = False

    @property
    def inside(self) -> bool:
        """An event has begun that has not ended yet."""
        return bool(self._line or self._fields)

    def decode(self, chunk: bytes) -> list[bytes]:
        """The data of every event this chunk completes. Raises EventTooLarge."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        lines = chunk.splitlines()  # on bytes: \n, \r\n and \r only
        rest = b"" if chunk[-1:] in (b"\n", b"\r") else lines.pop()
        self._after_cr = chunk.endswith(b"\r")
        if lines and self._line:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line.clear()
        payloads: list[bytes] = []
        for line in lines:
            self._end_line(line, payloads)
        if rest:
            self._line.append(rest)
            self._count(len(rest))
        return payloads

    def flush(self) -> list[bytes]:
        """The data of an event the stream ended in the middle of. The standard drops it; servers
        exist that end with `data: [DONE]` and no blank line."""
        payloads: list[bytes] = []
        if self._line:
            line = b"".join(self._line)
            self._line.clear()
            self._end_line(line, payloads)
        self._end_line(b"", payloads)
        return payloads

    def _end_line(self, line: bytes, payloads: list[bytes]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if line.startswith(b"data:"):
            self._add_field(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._add_field(b"")
        elif not line:
            if self._fields:
                payloads.append(self._event(b"\n".join(self._fields)))
                self._fields.clear()
            self._name = b""
            self._pending_bytes = 0
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()

    def _event(self, payload: bytes) -> bytes:
        if self._name in (b"", b"message"):
            return payload
        event = NamedEvent(payload)
        event.name = self._name.decode("utf-8", "replace")
        return event

    def _add_field(self, field: bytes) -> None:
        self._fields.append(field)
        self._count(len(field) + 1)

    def _count(self, n_bytes: int) -> None:
        self._pending_bytes += n_bytes
        if self._pending_bytes > self._max_event_bytes:
            raise EventTooLarge(f"an event of more than {self._max_event_bytes} bytes")
