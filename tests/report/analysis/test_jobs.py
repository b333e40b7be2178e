"""Sessions as tasks: what is counted, and what a run that cuts them leaves known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.records import header, turn_record
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import TurnRecord
from tokenswarm.report.analysis.compare import StoredRun
from tokenswarm.report.analysis.jobs import jobs, tasks


def turn(session: str, due_s: float, took_s: float, number: int = 0, **more: str) -> TurnRecord:
    return turn_record(
        session=session,
        turn=number,
        scheduled_at_s=due_s,
        sent_at_s=due_s,
        ended_at_s=due_s + took_s,
        **({"kind": "tool" if number else "start"} | more),
    )


def test_a_task_has_its_sub_agents_turns_and_waits_once_for_two_at_a_time():
    found = tasks(
        [
            turn("w0.u1.s0", 0, 10),
            turn("w0.u1.s0.a0", 10, 20),
            turn("w0.u1.s0.a1", 15, 20),
            turn("w0.u1.s0", 50, 10, 1),
            turn("w0.u1.s1", 100, 5),
        ]
    )
    first, second = found
    assert (first.took_s, first.waited_s, first.turns, first.cut) == (60, 45, 4, False)
    assert (second.took_s, second.cut) == (5, True)  # nothing says that it is over


def test_the_cut_and_the_met_are_told():
    found = tasks(
        [
            turn("w0.u1.s0", 0, 10, kind="met"),
            turn("w0.u1.s1", 20, 10),
            turn("w0.u2.s0", 90, 10),
        ]
    )
    assert [(task.met, task.cut, task.took_s) for task in found] == [
        (True, False, 10),
        (False, True, 80),
        (False, True, 10),
    ]


def test_a_comparison_has_a_row_for_each_run_and_none_for_pooled_rounds(tmp_path: Path):
    ledger = Ledger(header=header(), records=list(day(1, 0.0, 3600.0)))
    one = StoredRun(tmp_path / "a", ledger, called="one")
    assert one.jobs == jobs(ledger.records, 4) and one.jobs is not None
    assert one.jobs is one.jobs  # worked out once
    assert replace(one, rounds=("a", "b")).jobs is None


def test_where_no_task_ended_there_is_no_figure():
    assert jobs([turn("w0.u1.s0", 0, 10)], 4) is None
    assert jobs([], None) is None


def day(seed: int, from_s: float, to_s: float) -> Iterator[TurnRecord]:
    """40 developers, tasks of a geometric number of turns (mean 5), each 10 s of waiting and 30 s
    of pause before each, seen from `from_s` on: one each 200 s, of 170 s from its first turn on, 50
    of them waiting."""
    rng = np.random.default_rng(seed)
    for developer in range(40):
        at_s = -float(rng.uniform(0, 2_000))
        for session in range(1_000):
            for number in range(rng.geometric(1 / 5)):
                at_s += 30
                if from_s <= at_s and at_s + 10 <= to_s:
                    yield turn(f"w0.u{developer}.s{session}", at_s, 10, number)
                at_s += 10
            if at_s > to_s:
                break


@pytest.mark.parametrize("minutes", [15, 60])
def test_figures_do_not_hang_on_how_long_the_run_was(minutes: float):
    """Means over whole tasks alone would be a fifth too short in 15 minutes."""
    found = jobs(list(day(1, 0.0, 60 * minutes)), gpus=4)
    assert found is not None and found.task_s.value is not None
    assert found.task_s.value == pytest.approx(170, rel=0.1)
    assert found.waiting_s.value == pytest.approx(50, rel=0.1)
    assert found.waiting_minutes_per_developer_hour.value == pytest.approx(60 * 50 / 170, rel=0.1)
    assert found.tasks_per_hour.value == pytest.approx(40 * 3600 / 200, rel=0.1)
    assert found.tasks_per_gpu_hour.value == pytest.approx(10 * 3600 / 200, rel=0.1)
    low, high = found.task_s.low, found.task_s.high
    assert low is not None and high is not None and low < found.task_s.value < high
