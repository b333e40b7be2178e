"""Seconds of the run: wall seconds times speed, from second 0."""

from __future__ import annotations

import time

import pytest

from tokenswarm.shell.run_clock import WallClock


def test_run_seconds_are_wall_seconds_times_speed():
    clock = WallClock(origin=100.0, speed=20.0)
    assert clock.run_s(100.0) == 0.0
    assert clock.run_s(101.5) == 30.0
    assert clock.wall_s(30.0) == 1.5


def test_processes_that_start_later_share_second_zero():
    clock = WallClock.starting_at(time.time() - 60, speed=2.0)
    assert clock.now_s() == pytest.approx(120, abs=5)
