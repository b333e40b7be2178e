import time

import gevent
import pytest

from tokenswarm.client.deadlines import NEVER, deadlines_of
from tokenswarm.client.readiness import Readiness


class Waiter:
    def __init__(self) -> None:
        self.due_at = NEVER
        self.called_at: list[float] = []

    def overdue(self) -> None:
        self.called_at.append(time.monotonic())
        self.due_at = NEVER


@pytest.fixture
def waiters():
    deadlines = deadlines_of(gevent.get_hub())
    joined = [Waiter() for _ in range(3)]
    for waiter in joined:
        deadlines.join(waiter)
    yield joined
    for waiter in joined:
        deadlines.leave(waiter)


def wait_until(waiter: Waiter, due_at: float) -> None:
    waiter.due_at = due_at
    deadlines_of(gevent.get_hub()).expect(due_at)


def test_each_is_called_once_at_its_deadline_whatever_the_order_they_came_in(waiters):
    start = time.monotonic()
    for waiter, after_s in zip(waiters, (0.09, 0.03, 0.06), strict=True):
        wait_until(waiter, start + after_s)
    gevent.sleep(0.15)
    assert [len(waiter.called_at) for waiter in waiters] == [1, 1, 1]
    for waiter, after_s in zip(waiters, (0.09, 0.03, 0.06), strict=True):
        assert waiter.called_at[0] >= start + after_s


def test_a_deadline_that_moved_on_is_not_called_and_is_not_forgotten(waiters):
    start = time.monotonic()
    wait_until(waiters[0], start + 0.02)
    waiters[0].due_at = start + 0.08  # later than `next_at`: nobody is told
    gevent.sleep(0.15)
    (called_at,) = waiters[0].called_at
    assert called_at >= start + 0.08


def test_who_waits_for_nothing_or_has_left_is_not_called(waiters):
    deadlines = deadlines_of(gevent.get_hub())
    wait_until(waiters[1], time.monotonic() + 0.02)
    deadlines.leave(waiters[1])
    gevent.sleep(0.05)
    assert [waiter.called_at for waiter in waiters] == [[], [], []]


def test_a_hub_that_was_held_past_the_deadline_calls_at_once(waiters):
    wait_until(waiters[0], time.monotonic() + 0.01)
    time.sleep(0.05)
    gevent.sleep(0)
    gevent.sleep(0.001)
    assert len(waiters[0].called_at) == 1


@pytest.fixture
def pair():
    ours, theirs = gevent.socket.socketpair()
    readiness = Readiness(ours.fileno())
    yield readiness, ours, theirs
    readiness.close()
    ours.close()
    theirs.close()


def test_a_wait_ends_with_bytes_and_with_the_end_of_the_connection(pair):
    readiness, ours, theirs = pair
    gevent.spawn_later(0.01, theirs.send, b"x")
    readiness.wait(time.monotonic() + 10)
    assert ours.recv(9) == b"x"
    gevent.spawn_later(0.01, theirs.close)
    readiness.wait(time.monotonic() + 10)
    assert ours.recv(9) == b""


def test_a_wait_ends_when_nothing_comes_until_it_is_due(pair):
    due_at = time.monotonic() + 0.03
    pair[0].wait(due_at)
    assert time.monotonic() >= due_at


def test_a_killed_wait_leaves_nothing_behind(pair):
    readiness, _, theirs = pair
    reader = gevent.spawn(readiness.wait, time.monotonic() + 10)
    gevent.sleep(0.01)
    reader.kill()
    assert readiness.due_at == NEVER
    theirs.send(b"x")  # nobody waits: it wakes no one, and the loop does not spin
    gevent.sleep(0.01)
    readiness.wait(time.monotonic() + 10)


def test_bytes_that_nobody_reads_do_not_keep_the_loop_busy(pair):
    readiness, _, theirs = pair
    theirs.send(b"x")
    readiness.wait(time.monotonic() + 10)
    before_s = time.process_time()
    gevent.sleep(0.2)
    assert time.process_time() - before_s < 0.15
