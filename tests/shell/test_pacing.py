"""Who gets a ticket, when, and what happens to those nobody takes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gevent
import numpy as np
import pytest

from tokenswarm.shell.pacing import EXPIRED_S, OwnPauses, Tickets
from tokenswarm.shell.run_clock import WallClock
from workload.arrivals import Arrivals, TargetLine
from workload.tickets import Due, Place

SPEED = 1000.0  # run seconds pass as milliseconds
MEAN_TOKENS = 1000.0
TPM = 600.0  # a ticket every 100 s of the run, the first after 50 s
LIMIT_S = 10.0  # wall; nothing here takes a tenth of it


@pytest.fixture
def clock() -> WallClock:
    return WallClock(time.monotonic(), SPEED)


@pytest.fixture
def unsent() -> list[float]:
    """Due times of tickets that were given up."""
    return []


@pytest.fixture
def tickets(clock: WallClock, unsent: list[float]) -> Iterator[Tickets]:
    line = TargetLine()
    arrivals = Arrivals(line, MEAN_TOKENS, cv=0, rng=np.random.default_rng(1))
    pacing = Tickets(clock, line, arrivals, TPM / 2, unsent.append)
    yield pacing
    pacing.close()


def waiting(tickets: Tickets, places: list[Place]) -> tuple[list[tuple[int, Due]], list]:
    """Developers in these places, in this order, each taking one ticket of a mean prompt."""
    served: list[tuple[int, Due]] = []

    def developer(number: int, place: Place) -> None:
        due = tickets.wait(0.0, place)
        tickets.took(round(MEAN_TOKENS))
        served.append((number, due))

    greenlets = [gevent.spawn(developer, n, place) for n, place in enumerate(places)]
    gevent.sleep(0.005)
    return served, greenlets


def test_a_ready_session_comes_before_a_replacement_and_that_before_growth(tickets):
    served, greenlets = waiting(tickets, ["unstarted", "idle", "ready"])
    tickets.set_tpm(TPM, 0.0)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    assert [number for number, _ in served] == [2, 1, 0]


def test_the_session_that_has_been_ready_longest_is_served_first(tickets):
    served, greenlets = waiting(tickets, ["ready", "ready", "ready"])
    tickets.set_tpm(TPM, 0.0)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    assert [number for number, _ in served] == [0, 1, 2]


def test_tickets_are_due_on_the_target_line(tickets, clock):
    served, greenlets = waiting(tickets, ["ready"] * 4)
    began_s = clock.now_s()
    tickets.set_tpm(TPM, 0.0)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    dues = [due.at_s for _, due in served]
    assert pytest.approx(list(np.diff(dues))) == [100.0] * 3
    assert pytest.approx(dues[0] - began_s, abs=20) == 50.0  # 20 ms between the two reads


def test_a_ticket_that_nobody_could_take_keeps_its_due_time(tickets, clock):
    tickets.set_tpm(TPM, 0.0)
    gevent.sleep(0.2)  # tickets at 50 and 150 s
    (number, due), *_ = served_at_once(tickets)
    assert number == 0
    assert due.at_s < 60 + clock.now_s() - 200  # late, and it says so


def served_at_once(tickets: Tickets) -> list[tuple[int, Due]]:
    served, greenlets = waiting(tickets, ["ready"])
    gevent.joinall(greenlets, timeout=LIMIT_S)
    return served


def test_growth_is_in_mid_work_up_to_the_natural_number_of_sessions(tickets):
    """At TPM one session sends half of the rate: two are natural."""
    served, greenlets = waiting(tickets, ["unstarted"] * 4)
    tickets.set_tpm(TPM, 0.0)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    assert [due.grows for _, due in served] == [True, True, False, False]


def test_a_rate_of_zero_gives_up_the_tickets_nobody_took_and_says_so(tickets, unsent, clock):
    began_s = clock.now_s()
    tickets.set_tpm(TPM, 0.0)
    gevent.sleep(0.2)
    tickets.set_tpm(0.0, 0.0)
    assert len(unsent) >= 2
    assert unsent[:2] == pytest.approx([began_s + 50, began_s + 150], abs=20)
    served, greenlets = waiting(tickets, ["ready"])
    gevent.sleep(0.1)
    assert served == []
    gevent.killall(greenlets)


def test_a_stopped_developer_leaves_its_place_to_the_next(tickets):
    served, greenlets = waiting(tickets, ["ready", "ready"])
    greenlets[0].kill()
    tickets.set_tpm(TPM, 0.0)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    assert [number for number, _ in served] == [1]


def test_in_closed_mode_a_turn_is_due_when_its_pause_is_over(clock):
    ready_at_s = clock.now_s() + 30
    due = OwnPauses(clock).wait(ready_at_s, "ready")
    assert due.at_s == ready_at_s
    assert clock.now_s() >= ready_at_s


def test_a_ticket_that_found_a_free_developer_was_not_late_for_want_of_one(tickets, clock):
    before_s = clock.now_s()
    served, greenlets = waiting(tickets, ["idle"])
    tickets.set_tpm(TPM, 0.0)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    _number, due = served[0]
    assert due.free_at_s is not None and before_s <= due.free_at_s <= due.at_s


def test_a_ticket_that_waited_for_a_developer_says_since_when_there_was_one(tickets, clock):
    tickets.set_tpm(TPM, 0.0)
    gevent.sleep(clock.wall_s(200.0))
    joined_s = clock.now_s()
    served, greenlets = waiting(tickets, ["idle"])
    gevent.joinall(greenlets, timeout=LIMIT_S)
    _number, due = served[0]
    assert due.free_at_s is not None and due.at_s < joined_s <= due.free_at_s


def test_a_rate_beyond_what_can_be_dealt_leaves_others_their_turn(tickets):
    tickets.set_tpm(1e15, 0.0)
    with gevent.Timeout(LIMIT_S):  # without a yield no timeout comes through either
        for _ in range(3):
            gevent.sleep(0.01)
        tickets.set_tpm(0.0, 0.0)
    assert tickets.waiting_tickets == 0


def test_what_the_dealer_comes_to_too_late_is_given_up_not_sent(tickets, unsent, clock):
    """As after SIGSTOP, or when a machine slept: the clock has gone on, the process has not."""
    served, greenlets = waiting(tickets, ["ready"] * 3)
    tickets.set_tpm(TPM, 0.0)
    began_s = clock.now_s()
    clock.origin -= 20.0  # 20,000 s of the run: 200 tickets
    gevent.joinall(greenlets, timeout=LIMIT_S)
    assert 175 <= len(unsent) <= 182  # all but those of the last 2 wall seconds
    assert unsent[0] == pytest.approx(began_s + 50, abs=20)
    expired_s = EXPIRED_S * SPEED
    assert all(clock.now_s() - due.at_s < expired_s + LIMIT_S * SPEED for _, due in served)
    assert [due.at_s for _, due in served] == sorted(due.at_s for _, due in served)
    assert served[0][1].at_s > unsent[-1]


def test_a_new_target_after_a_stop_brings_no_burst(tickets, unsent, clock):
    tickets.set_tpm(TPM, 0.0)
    clock.origin -= 20.0
    tickets.hold(clock.now_s() - 16_000)
    assert len(unsent) == pytest.approx(200, abs=2)
    tickets.go_on()
    tickets.set_tpm(TPM, 0.0)
    served, greenlets = waiting(tickets, ["ready"] * 3)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    dues = [due.at_s for _, due in served]
    assert list(np.diff(dues)) == pytest.approx([100.0] * 2)


def test_in_closed_mode_pauses_stand_still_while_traffic_is_held():
    clock = WallClock(time.monotonic(), SPEED)
    pauses = OwnPauses(clock)
    ready_s = clock.now_s() + 50
    held_s = clock.now_s()
    pauses.hold(held_s)
    waiters = [gevent.spawn(pauses.wait, ready_s + n * 100, "ready") for n in range(3)]
    gevent.sleep(0.4)  # all three would have been due
    assert not any(waiter.ready() for waiter in waiters)
    pauses.go_on()
    gevent.joinall(waiters, timeout=LIMIT_S)
    dues = [waiter.value.at_s - ready_s for waiter in waiters]
    assert dues[0] >= 400 and np.diff(dues) == pytest.approx([100.0] * 2, abs=1)
