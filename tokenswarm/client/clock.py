"""When bytes arrived: kernel receive stamps on the monotonic clock.

With SO_TIMESTAMPNS Linux hands out the arrival time of the last byte of a read beside the bytes,
so a busy gevent hub does not delay the stamp. The kernel's stamp is CLOCK_REALTIME; it is moved
to the monotonic clock here, and nowhere else. Where there is no stamp, the clock read after
`recvmsg` returned is the fallback.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python 3.11 has no name for it
_TIMESPEC = struct.Struct("ll")  # struct timespec: seconds, nanoseconds
ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)

# Both clocks are slewed alike by NTP; they part only when the wall clock is set. Noise of two
# clock reads on a busy machine stays below this (guess).
STEP_NS = 1_000_000
_SAMPLES = 5

Ancillary = list[tuple[int, int, bytes]]


class Stamp(NamedTuple):
    """Arrival of one read. at_s: monotonic seconds; lag_s: how much later than the kernel the
    read returned, None where the clock is all there is."""

    at_s: float
    lag_s: float | None


class Clock:
    """The monotonic clock, and the kernel's stamps on it. The clocks are arguments for tests."""

    def __init__(
        self,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        realtime_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._realtime_ns = realtime_ns
        self._offset_ns = offset_ns(monotonic_ns, realtime_ns)

    def now(self) -> float:
        return self._monotonic_ns() / 1e9

    def resample(self) -> None:
        """Measure the distance between the two clocks again: once per request."""
        self._offset_ns = offset_ns(self._monotonic_ns, self._realtime_ns)

    def stamp(self, kernel_ns: int | None, *, not_before: float) -> Stamp:
        """The stamp of the read that has just returned. A kernel stamp that lies in the future
        or before `not_before` (the moment of sending, the read before) is not believed."""
        now_ns = self._monotonic_ns()
        if kernel_ns is None:
            return Stamp(now_ns / 1e9, None)
        if abs(self._realtime_ns() - now_ns - self._offset_ns) > STEP_NS:
            self.resample()
        arrived_ns = kernel_ns - self._offset_ns
        if arrived_ns > now_ns or arrived_ns / 1e9 < not_before:
            return Stamp(now_ns / 1e9, None)
        return Stamp(arrived_ns / 1e9, (now_ns - arrived_ns) / 1e9)


def offset_ns(monotonic_ns: Callable[[], int], realtime_ns: Callable[[], int]) -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC in nanoseconds, from the tightest of a few samples: one
    that was preempted between the two reads is wide and loses."""
    width, offset = 0, 0
    for sample in range(_SAMPLES):
        before = monotonic_ns()
        wall = realtime_ns()
        after = monotonic_ns()
        if sample == 0 or after - before < width:
            width, offset = after - before, wall - (before + after) // 2
    return offset


def ask_for_stamps(sock: socket.socket) -> bool:
    """Ask the kernel to stamp what this socket receives; False where it cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def kernel_ns(ancillary: Ancillary) -> int | None:
    """The kernel's stamp in what recvmsg returned, CLOCK_REALTIME nanoseconds; None if absent."""
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(value) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return None
