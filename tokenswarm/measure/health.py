"""Health: how well one generator process kept up with its own work, over one interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One interval of one process. `at_s`, its end, is on the run's clock like a turn's times
    (engine seconds against the embedded engine); the other seconds are wall seconds. None is
    unknown: no probe ended in the interval.
    """

    process: str  # "local", "master" or "worker-<index>"
    at_s: float
    interval_s: float
    hub_lag_p99_s: float | None  # how late a greenlet that was due got the hub: wake-up - due time
    hub_lag_max_s: float | None
    cpu_share: float  # user and system CPU / wall time; 1.0 is one core
    rss_bytes: int
