"""Master watch: whether a worker still hears its master. Pure: time is passed in.

Locust's worker loads on for 60 s after its master has gone, at a rate that nobody reports. The
master answers its heartbeat once a second and shares a silent worker's traffic out among the others
after 3.6 s (docs/measuring.md 2.4), so a worker that has heard nothing for longer sends nothing.
"""

from __future__ import annotations

SILENCE_S = 4.0


class MasterWatch:
    """held: whether traffic rests until the master is heard again."""

    def __init__(self) -> None:
        self.held = False
        self._heard_at: float | None = None

    def heard(self, now: float) -> bool:
        """The master is there. Says whether traffic was held until now."""
        self._heard_at = now
        was_held, self.held = self.held, False
        return was_held

    def overdue_s(self, now: float) -> float | None:
        """For how long traffic ought to rest already; None while the master is heard, before it
        was heard first, and when it has been said."""
        if self.held or self._heard_at is None or now - self._heard_at <= SILENCE_S:
            return None
        self.held = True
        return now - self._heard_at - SILENCE_S
