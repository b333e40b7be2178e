"""Readiness: how one greenlet waits for what arrives on its socket."""

from __future__ import annotations

from gevent import get_hub, getcurrent
from greenlet import greenlet

from tokenswarm.client.deadlines import NEVER, deadlines_of

_READ = 1  # libev's EV_READ, which an end and an error of the connection set too


class Readiness:
    """One watcher that stays with the event loop from the first wait of an answer to its `rest`:
    a wait then is two switches of greenlets, without a timer, a system call or an exception."""

    def __init__(self, fileno: int) -> None:
        self.due_at = NEVER
        self._hub = get_hub()
        self._deadlines = deadlines_of(self._hub)
        self._watcher = self._hub.loop.io(fileno, _READ)
        self._reader: greenlet | None = None

    def wait(self, due_at: float) -> None:
        """Until something can be read or due_at, monotonic seconds, has passed: a read that does
        not block tells which. May return before either."""
        if not self._watcher.active:
            self._watcher.start(self._readable)
            self._deadlines.join(self)
        if due_at < self._deadlines.next_at:
            self._deadlines.expect(due_at)
        self.due_at = due_at
        self._reader = getcurrent()
        try:
            self._hub.switch()
        finally:
            self._reader = None
            self.due_at = NEVER

    def rest(self) -> None:
        """Nobody reads until the next `wait`."""
        self._watcher.stop()
        self._deadlines.leave(self)

    def close(self) -> None:
        """Before the socket is closed."""
        self.rest()
        self._watcher.close()

    def overdue(self) -> None:
        self._readable()

    def _readable(self) -> None:
        if self._reader is None:  # it does something else, such as sending
            self.rest()
        else:
            self._reader.switch()
