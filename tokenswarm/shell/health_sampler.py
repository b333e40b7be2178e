"""How well this process keeps up while a run is on: into the feed every ten wall seconds, and where
a level begins or ends, so that an interval belongs to one.

hub lag    a greenlet sleeps in a loop; how much later than asked it wakes up. Whatever holds
           the hub for longer than libev's millisecond holds up every other greenlet as well.
CPU        user and system time of this process, all its threads, over wall time
"""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
import psutil

from exporters.turns import TurnFeed
from tokenswarm.measure.health import Health
from tokenswarm.measure.quantiles import quantile

EVERY_WALL_S = 10.0
PROBE_S = 0.05  # 200 probes an interval; a wake-up costs 0.12 ms (scripts/bench_exporter.py)
_SHORTEST_S = 0.5  # guess: of less than that CPU time says little


class HealthSampler:
    """Samples from its making until `close`."""

    def __init__(self, feed: TurnFeed, process: str, now_s: Callable[[], float]) -> None:
        """now_s: the run's clock."""
        self._feed = feed
        self._process = process
        self._now_s = now_s
        self._memory = psutil.Process()
        self._begin()
        self._greenlets = (gevent.spawn(self._probe), gevent.spawn(self._sample_on))

    def close(self) -> None:
        """Ends with the interval so far."""
        for greenlet in self._greenlets:
            greenlet.kill(block=False)
        self.cut()

    def cut(self) -> None:
        """The interval ends here, and the next begins. A short one is left out: no stall that
        counts fits into it."""
        if time.monotonic() - self._began_at > _SHORTEST_S:
            self._sample()
        else:
            self._begin()

    def _begin(self) -> None:
        self._began_at, self._cpu_s = time.monotonic(), time.process_time()
        self._lags_s: list[float] = []

    def _probe(self) -> None:
        while True:
            due_at = time.monotonic() + PROBE_S
            gevent.sleep(PROBE_S)
            self._lags_s.append(max(0.0, time.monotonic() - due_at))

    def _sample_on(self) -> None:
        while True:
            left_s = self._began_at + EVERY_WALL_S - time.monotonic()
            if left_s > 0:  # one may have been cut meanwhile
                gevent.sleep(left_s)
            else:
                self._sample()

    def _sample(self) -> None:
        interval_s = time.monotonic() - self._began_at
        health = Health(
            process=self._process,
            at_s=self._now_s(),
            interval_s=interval_s,
            hub_lag_p99_s=quantile(self._lags_s, 0.99),
            hub_lag_max_s=max(self._lags_s, default=None),
            cpu_share=(time.process_time() - self._cpu_s) / interval_s,
            rss_bytes=self._memory.memory_info().rss,
        )
        self._begin()
        self._feed.health(health)
