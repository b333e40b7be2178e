"""The keeper with an engine that is a table: who acts when, and who holds nobody up."""

from __future__ import annotations

import math
import random
from itertools import count

import gevent
import pytest

from tokenswarm.shell import keeper as keepers
from tokenswarm.shell.keeper import Advanced, Broken, Keeper


class Engine:
    """Request n ends `took_s[n]` after it was sent."""

    def __init__(self, *took_s: float) -> None:
        self.took_s = dict(enumerate(took_s))
        self.ends: list[tuple[float, int]] = []
        self.sent = 0
        self.now_s = 0.0
        self.asked: list[tuple[float | None, int]] = []

    def advance(self, until_s: float | None, sent: int) -> Advanced:
        self.asked.append((until_s, sent))
        for number in range(self.sent, sent):
            self.ends.append((self.now_s + self.took_s[number], number))
        self.sent = sent
        first_s = min((at_s for at_s, _ in self.ends), default=math.inf)
        limit_s = math.inf if until_s is None else until_s
        if first_s == limit_s == math.inf:
            raise Broken("nothing is under way")
        if limit_s <= first_s:
            self.now_s = limit_s
            return Advanced(limit_s, ())
        self.now_s = first_s
        ended = tuple(n for at_s, n in self.ends if at_s == first_s)
        self.ends = [end for end in self.ends if end[0] != first_s]
        return Advanced(first_s, ended)


def led(engine: Engine) -> tuple[Keeper, list[str]]:
    broken: list[str] = []
    return Keeper(engine.advance, broken.append), broken


def dither() -> None:
    """The host is busy for a while: its order is nobody's."""
    gevent.sleep(random.random() / 500)


def play(engine: Engine, *scripts: list[float]) -> list[tuple[float, int, str]]:
    """Developers who rest, send, rest ...; what they did at which second."""
    keeper, broken = led(engine)
    log: list[tuple[float, int, str]] = []

    def develop(me: int, rests_s: list[float]) -> None:
        for rest_s in rests_s:
            keeper.sleep_until(keeper.now_s + rest_s)
            dither()
            request = keeper.request()
            log.append((keeper.now_s, me, f"sends {request.number}"))
            keeper.sent()
            dither()
            keeper.wait(request.answered)
            dither()
            log.append((keeper.now_s, me, f"has {request.number}"))
        keeper.leave()

    greenlets = [gevent.spawn(develop, n, rests_s) for n, rests_s in enumerate(scripts)]
    while keeper.waiting < len(scripts):
        gevent.sleep(0)
    keeper.start()
    gevent.joinall(greenlets, timeout=20, raise_error=True)
    keeper.close()
    assert broken in ([], ["nothing is under way"])  # when all have left
    return log


def test_who_acts_when():
    log = play(Engine(2.0, 5.0, 1.0, 1.0), [1.0, 1.0], [2.0, 0.5])
    assert log == [
        (1.0, 0, "sends 0"),
        (2.0, 1, "sends 1"),
        (3.0, 0, "has 0"),
        (4.0, 0, "sends 2"),
        (5.0, 0, "has 2"),
        (7.0, 1, "has 1"),
        (7.5, 1, "sends 3"),
        (8.5, 1, "has 3"),
    ]


def test_it_is_the_same_whatever_the_host_does():
    took_s = [random.Random(1).choice((1.0, 2.0, 2.5)) for _ in range(40)]
    scripts = [[float(1 + (n + k) % 3) for k in range(5)] for n in range(8)]
    once, again = play(Engine(*took_s), *scripts), play(Engine(*took_s), *scripts)
    assert len(once) == 80
    assert once == again


def test_answers_of_one_second_are_taken_one_after_the_other_in_the_engines_order():
    log = play(Engine(3.0, 2.0, 1.0), [1.0], [2.0], [3.0])
    assert [entry[1:] for entry in log[-3:]] == [(0, "has 0"), (1, "has 1"), (2, "has 2")]
    assert {entry[0] for entry in log[-3:]} == {4.0}


class Dealer:
    """Deals to whoever waits, every second."""

    def __init__(self, keeper: Keeper) -> None:
        self.due_s = count(1)
        self.at_s = float(next(self.due_s))
        self.keeper = keeper
        self.line: list[keepers.Turn] = []

    def next_s(self) -> float:
        return self.at_s

    def fire(self) -> None:
        self.at_s = float(next(self.due_s))
        if self.line:
            self.keeper.hand(self.line.pop(0))


def test_a_source_plans_by_itself():
    keeper, broken = led(Engine())
    dealer, seen = Dealer(keeper), []
    keeper.attach(dealer)

    def take() -> None:
        for _ in range(3):
            turn = keepers.Turn()
            dealer.line.append(turn)
            keeper.wait(turn)
            seen.append(keeper.now_s)
        keeper.close()

    one = gevent.spawn(take)
    gevent.sleep(0)
    keeper.start()
    one.join(5)
    assert seen == [1.0, 2.0, 3.0] and not broken


def test_one_that_begins_acts_after_those_before_it():
    keeper, _ = led(Engine())
    seen: list[tuple[str, float]] = []

    def child(name: str, turn: keepers.Turn) -> None:
        keeper.wait(turn)
        seen.append((name, keeper.now_s))
        keeper.leave()

    def parent() -> None:
        keeper.sleep_until(2.0)
        children = [gevent.spawn(child, name, keeper.queue()) for name in "ab"]
        dither()
        seen.append(("parent", keeper.now_s))
        keeper.sleep_until(3.0)
        gevent.joinall(children)
        keeper.close()

    one = gevent.spawn(parent)
    gevent.sleep(0)
    keeper.start()
    one.join(5)
    assert seen == [("parent", 2.0), ("a", 2.0), ("b", 2.0)]


def test_one_that_is_killed_holds_nobody_up():
    keeper, broken = led(Engine())
    seen = []

    def waits(at_s: float) -> None:
        keeper.sleep_until(at_s)
        seen.append(at_s)
        if at_s == 2.0:
            gevent.sleep(3600)  # killed while it acts
        keeper.leave()

    early, acting, late = (gevent.spawn(waits, at_s) for at_s in (1.0, 2.0, 4.0))
    gevent.sleep(0)
    early.kill()
    keeper.start()
    gevent.sleep(0.05)
    assert seen == [2.0]
    acting.kill()
    late.join(5)
    assert seen == [2.0, 4.0]
    keeper.close()


def test_a_lost_engine_is_said_once():
    def lost(until_s: float | None, sent: int) -> Advanced:
        raise Broken("connect: Connection refused")

    broken: list[str] = []
    keeper = Keeper(lost, broken.append)
    one = gevent.spawn(keeper.sleep_until, 1.0)
    gevent.sleep(0)
    keeper.start()
    gevent.sleep(0.01)
    assert broken == ["connect: Connection refused"]
    one.kill()


def test_one_that_acts_for_ever_is_said(monkeypatch):
    monkeypatch.setattr(keepers, "ACT_LIMIT_S", 0.02)
    keeper, broken = led(Engine())

    def hangs() -> None:
        keeper.sleep_until(1.0)
        gevent.sleep(3600)

    one = gevent.spawn(hangs)
    gevent.sleep(0)
    keeper.start()
    gevent.sleep(0.1)
    assert broken and "a developer acts for more than" in broken[0]
    one.kill()


def test_nothing_to_wait_for_is_said():
    keeper, broken = led(Engine())
    keeper.start()
    gevent.sleep(0.01)
    assert broken == ["nothing is under way"]


@pytest.mark.parametrize("at_s", [0.0, -5.0])
def test_a_time_that_has_passed_is_now(at_s):
    keeper, _ = led(Engine())
    one = gevent.spawn(keeper.sleep_until, at_s)
    gevent.sleep(0)
    keeper.start()
    one.join(5)
    assert one.successful() and keeper.now_s == 0.0
    keeper.close()
