"""What the sampler says of a hub that is held up, and of one that is not."""

from __future__ import annotations

import time

import gevent
import psutil

from exporters.turns import TurnFeed
from tokenswarm.measure.health import Health
from tokenswarm.shell.health_sampler import PROBE_S, HealthSampler

HELD_S = 0.3


def sampling() -> tuple[HealthSampler, list[Health]]:
    """A sampler that has begun, and what it says."""
    feed = TurnFeed()
    seen: list[Health] = []
    feed.subscribe(lambda turn: None, on_health=seen.append)
    return HealthSampler(feed, "local", lambda: 123.0), seen


def sampled(busy) -> Health:
    """The last interval of a sampler that was closed after `busy`."""
    sampler, seen = sampling()
    busy()
    sampler.close()
    gevent.sleep(0)
    (health,) = seen
    return health


def hold_the_hub() -> None:
    gevent.sleep(4 * PROBE_S)
    end = time.monotonic() + HELD_S
    while time.monotonic() < end:
        pass
    gevent.sleep(0.3)


def test_a_held_hub_shows_as_lag_and_as_cpu():
    health = sampled(hold_the_hub)
    assert health.hub_lag_max_s is not None and health.hub_lag_max_s >= HELD_S - PROBE_S
    # It had the processor for all of it, unless the machine took it away.
    assert 0 < health.cpu_share <= 1.5


def test_waiting_costs_next_to_no_cpu_and_is_no_lag():
    before_s = time.process_time()
    health = sampled(lambda: gevent.sleep(0.8))
    assert health.cpu_share * health.interval_s <= time.process_time() - before_s + 0.02
    assert health.hub_lag_p99_s is not None and health.hub_lag_max_s is not None
    assert 0 <= health.hub_lag_p99_s <= health.hub_lag_max_s


def test_the_interval_is_wall_time_and_its_end_on_the_runs_clock():
    health = sampled(lambda: gevent.sleep(0.7))
    assert (health.process, health.at_s) == ("local", 123.0)
    assert health.interval_s >= 0.7
    assert 0.5 < health.rss_bytes / psutil.Process().memory_info().rss < 2


def test_an_interval_too_short_to_say_anything_is_left_out():
    sampler, seen = sampling()
    sampler.close()
    assert seen == []


def test_a_level_ends_the_interval_and_the_next_one_begins():
    sampler, seen = sampling()
    gevent.sleep(0.6)
    sampler.cut()
    sampler.cut()  # the end of a level and the begin of the next
    gevent.sleep(0.7)
    sampler.close()
    first, second = seen
    assert first.interval_s >= 0.6 and second.interval_s >= 0.7


def test_nothing_is_sampled_after_the_end():
    sampler, seen = sampling()
    gevent.sleep(0.6)
    sampler.close()
    gevent.sleep(3 * PROBE_S)
    assert len(seen) == 1
