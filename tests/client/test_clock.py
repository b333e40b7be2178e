import socket
import struct

import pytest

from tokenswarm.client.clock import SO_TIMESTAMPNS, Clock, kernel_ns, offset_ns

SECOND = 1_000_000_000
WALL = 1_700_000_000 * SECOND


class Clocks:
    """Two clocks that move when told to."""

    def __init__(self) -> None:
        self.monotonic_ns = 100 * SECOND
        self.wall_ns = WALL

    def pass_s(self, seconds: float) -> None:
        self.monotonic_ns += int(seconds * SECOND)
        self.wall_ns += int(seconds * SECOND)

    def clock(self) -> Clock:
        return Clock(lambda: self.monotonic_ns, lambda: self.wall_ns)


def test_a_kernel_stamp_is_moved_to_the_monotonic_clock():
    clocks = Clocks()
    clock = clocks.clock()
    clocks.pass_s(2.0)
    stamp = clock.stamp(WALL + int(1.5 * SECOND), not_before=100.0)
    assert stamp.at_s == pytest.approx(101.5)
    assert stamp.lag_s == pytest.approx(0.5)


def test_without_a_kernel_stamp_the_clock_is_the_stamp():
    clocks = Clocks()
    assert clocks.clock().stamp(None, not_before=0.0) == (100.0, None)


@pytest.mark.parametrize("arrived_s", [-0.5, 1.5])
def test_a_stamp_before_sending_or_after_the_read_is_not_believed(arrived_s):
    clocks = Clocks()
    clock = clocks.clock()
    clocks.pass_s(1.0)
    stamp = clock.stamp(WALL + int(arrived_s * SECOND), not_before=100.0)
    assert stamp == (101.0, None)


@pytest.mark.parametrize("step_s", [-3600, 3600, 0.25])
def test_a_step_of_the_wall_clock_does_not_move_the_stamps_after_it(step_s):
    clocks = Clocks()
    clock = clocks.clock()
    clocks.wall_ns += int(step_s * SECOND)
    clocks.pass_s(1.0)
    stamp = clock.stamp(clocks.wall_ns - SECOND // 10, not_before=100.0)
    assert stamp.at_s == pytest.approx(100.9)
    assert stamp.lag_s == pytest.approx(0.1)


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_bytes_that_arrived_before_a_step_fall_back_to_the_clock(step_s):
    clocks = Clocks()
    clock = clocks.clock()
    clocks.pass_s(1.0)
    arrived = clocks.wall_ns
    clocks.wall_ns += step_s * SECOND
    assert clock.stamp(arrived, not_before=100.0) == (101.0, None)


def test_the_offset_comes_from_the_sample_that_was_not_preempted():
    monotonic = iter([0, 900, 1000, 1010, 2000, 2900, 3000, 3900, 4000, 4900])
    wall = iter([5800, 6005, 7800, 8800, 9800])
    assert offset_ns(lambda: next(monotonic), lambda: next(wall)) == 5000


def test_the_stamp_is_found_among_the_ancillary_bytes():
    stamp = struct.pack("ll", 12, 34)
    other = (socket.SOL_SOCKET, 1, b"\0" * 16)
    assert kernel_ns([other, (socket.SOL_SOCKET, SO_TIMESTAMPNS, stamp)]) == 12 * SECOND + 34
    assert kernel_ns([other]) is None
    assert kernel_ns([(socket.SOL_SOCKET, SO_TIMESTAMPNS, stamp[:8])]) is None
