"""The virtual clock and the lateness it measures."""

from __future__ import annotations

import asyncio

from tokenswarm.engine.server.clock import Lateness, VirtualClock


class WallClock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_engine_time_runs_speed_times_faster():
    wall = WallClock()
    clock = VirtualClock(20, wall)
    wall.now_s += 3
    assert clock.now_s() == 60


def test_lateness_is_wall_time_after_the_deadline():
    wall = WallClock()
    clock = VirtualClock(20, wall)
    wall.now_s += 3
    assert clock.late_s(40.0) == 1.0
    assert clock.late_s(80.0) == -1.0


def test_a_passed_deadline_still_lets_other_tasks_run():
    async def scenario() -> list[str]:
        order: list[str] = []

        async def other() -> None:
            order.append("other")

        clock = VirtualClock(1, WallClock())
        task = asyncio.create_task(other())
        await clock.sleep_until(-5)
        order.append("after")
        await task
        return order

    assert asyncio.run(scenario()) == ["other", "after"]


def test_sleeping_never_ends_before_the_deadline():
    async def scenario() -> float:
        clock = VirtualClock(50)
        await clock.sleep_until(1.0)
        return clock.late_s(1.0)

    assert asyncio.run(scenario()) >= 0


def test_p99_is_of_the_observations_and_rounded_up_by_at_most_5_percent():
    lateness = Lateness()
    assert lateness.p99_s() is None
    for milliseconds in range(1, 101):
        lateness.observe(milliseconds / 1000)
    p99_s = lateness.p99_s()
    assert p99_s is not None and 0.099 <= p99_s <= 0.099 * 1.05


def test_early_counts_as_on_time_and_clear_forgets():
    lateness = Lateness()
    lateness.observe(1.0)
    lateness.clear()
    assert lateness.p99_s() is None
    lateness.observe(-1.0)
    assert lateness.p99_s() == 0.0


def test_a_stretch_of_time_holds_only_what_was_late_in_it():
    wall = WallClock()
    lateness = Lateness(wall)
    for _ in range(1_000):
        lateness.observe(0.5)  # an earlier run on a busy machine
    wall.now_s += 100
    for _ in range(10):
        lateness.observe(0.001)
    wall.now_s += 20
    assert 0.001 <= (lateness.p99_s(30) or 0) <= 0.00105
    assert 0.5 <= (lateness.p99_s(121) or 0) <= 0.525
    assert 0.5 <= (lateness.p99_s() or 0) <= 0.525
    assert lateness.p99_s(1) is None


def test_a_bad_stretch_is_not_hidden_by_a_quiet_night():
    wall = WallClock()
    lateness = Lateness(wall)
    for _ in range(100_000):
        lateness.observe(0.0)
    wall.now_s += 60
    for _ in range(100):
        lateness.observe(0.2)
    assert lateness.p99_s() == 0.0
    assert 0.2 <= (lateness.p99_s(5) or 0) <= 0.21
