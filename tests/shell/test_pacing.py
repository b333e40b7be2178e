"""Who gets a ticket, when, and what happens to those nobody takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import gevent
import numpy as np
import pytest

from tests.support.pauses import Pauses, life_of
from tokenswarm.shell.pacing import EXPIRED_S, OwnPauses, Tickets
from tokenswarm.shell.run_clock import WallClock
from workload.arrivals import Arrivals, TargetLine
from workload.life import Due, Life

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


def developer(gap_s: float = 0.0) -> Life:
    """Its sessions have one pause and then none."""
    return life_of(*(Pauses("s", gap_s, *[0.0] * 8) for _ in range(2)))


def waiting(tickets: Tickets, lives: Sequence[Life]) -> tuple[list[tuple[int, Due]], list]:
    """These wait, in this order, each taking one ticket of a mean prompt."""
    served: list[tuple[int, Due]] = []

    def wait(number: int, life: Life) -> None:
        due = tickets.wait(life)
        tickets.took(round(MEAN_TOKENS))
        served.append((number, due))

    greenlets = [gevent.spawn(wait, n, life) for n, life in enumerate(lives)]
    gevent.sleep(0.005)
    return served, greenlets


def test_the_developer_whose_pause_ends_first_is_served_first(tickets):
    served, greenlets = waiting(tickets, [developer(7000.0), developer(5000.0)])
    tickets.set_tpm(TPM, 0.0)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    assert [number for number, _ in served] == [1, 0]
    assert served[0][1].early_s == pytest.approx(5000.0)


def test_tickets_are_due_on_the_target_line(tickets, clock):
    served, greenlets = waiting(tickets, [developer() for _ in range(4)])
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
    served, greenlets = waiting(tickets, [developer()])
    gevent.joinall(greenlets, timeout=LIMIT_S)
    return served


def test_the_natural_number_is_met_and_the_others_start_new_sessions(tickets):
    """At TPM one developer sends half of the rate: two are natural."""
    served, greenlets = waiting(tickets, [developer() for _ in range(4)])
    tickets.set_tpm(TPM, 0.0)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    assert [due.fresh for _, due in served] == [False, False, True, True]


def test_who_was_told_to_stay_away_is_not_called_before(tickets, clock):
    life = developer()
    life.begin(0.0)
    life.take(Due(0.0))
    away_until_s = clock.now_s() + 300.0
    life.end("http_429", away_until_s - 100.0, retry_after_s=100.0)
    served, greenlets = waiting(tickets, [life])
    tickets.set_tpm(TPM, 0.0)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    _number, due = served[0]
    assert due.at_s < away_until_s == due.free_at_s <= clock.now_s()


def test_a_rate_of_zero_gives_up_the_tickets_nobody_took_and_says_so(tickets, unsent, clock):
    began_s = clock.now_s()
    tickets.set_tpm(TPM, 0.0)
    gevent.sleep(0.2)
    tickets.set_tpm(0.0, 0.0)
    assert len(unsent) >= 2
    assert unsent[:2] == pytest.approx([began_s + 50, began_s + 150], abs=20)
    served, greenlets = waiting(tickets, [developer()])
    gevent.sleep(0.1)
    assert served == []
    gevent.killall(greenlets)


def test_a_stopped_developer_leaves_its_place_to_the_next(tickets):
    served, greenlets = waiting(tickets, [developer(), developer()])
    greenlets[0].kill()
    tickets.set_tpm(TPM, 0.0)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    assert [number for number, _ in served] == [1]


def test_in_closed_mode_a_turn_is_due_when_its_pause_is_over(clock):
    life = developer(gap_s=30.0)
    met_at_s = clock.now_s()
    due = OwnPauses(clock).wait(life)
    assert due.at_s == due.free_at_s == life.ready_at_s >= met_at_s + 30.0
    assert clock.now_s() >= life.ready_at_s


def test_a_ticket_that_found_a_free_developer_was_not_late_for_want_of_one(tickets, clock):
    before_s = clock.now_s()
    served, greenlets = waiting(tickets, [developer()])
    tickets.set_tpm(TPM, 0.0)
    gevent.joinall(greenlets, timeout=LIMIT_S)
    _number, due = served[0]
    assert due.free_at_s is not None and before_s <= due.free_at_s <= due.at_s


def test_a_ticket_that_waited_for_a_developer_says_since_when_there_was_one(tickets, clock):
    tickets.set_tpm(TPM, 0.0)
    gevent.sleep(clock.wall_s(200.0))
    joined_s = clock.now_s()
    served, greenlets = waiting(tickets, [developer()])
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
    served, greenlets = waiting(tickets, [developer() for _ in range(3)])
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
    served, greenlets = waiting(tickets, [developer() for _ in range(3)])
    gevent.joinall(greenlets, timeout=LIMIT_S)
    dues = [due.at_s for _, due in served]
    assert list(np.diff(dues)) == pytest.approx([100.0] * 2)


def test_in_closed_mode_pauses_stand_still_while_traffic_is_held():
    clock = WallClock(time.monotonic(), SPEED)
    pauses = OwnPauses(clock)
    ready_s = clock.now_s() + 50
    held_s = clock.now_s()
    pauses.hold(held_s)
    lives = [developer(50.0 + n * 100) for n in range(3)]
    for life in lives:
        life.begin(held_s)
    waiters = [gevent.spawn(pauses.wait, life) for life in lives]
    gevent.sleep(0.4)  # all three would have been due
    assert not any(waiter.ready() for waiter in waiters)
    pauses.go_on()
    gevent.joinall(waiters, timeout=LIMIT_S)
    dues = [waiter.value.at_s - ready_s for waiter in waiters]
    assert dues[0] >= 400 and np.diff(dues) == pytest.approx([100.0] * 2, abs=1)
