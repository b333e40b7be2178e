"""Rounds of an alternation: pooled, paired, and immune to a day that drifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.known_truth import LEVEL_S, known_run, queue_ttft_s
from tests.support.records import fingerprint, header
from tests.support.stored_runs import stored
from tokenswarm.__main__ import main
from tokenswarm.measure.ledger import Ledger
from tokenswarm.report.analysis.change import Change, change
from tokenswarm.report.analysis.compare import ComparisonError, StoredRun, compare
from tokenswarm.report.analysis.rounds import open_runs, pooled
from tokenswarm.report.analysis.sample import LevelSample, drawn_together
from tokenswarm.report.analysis.steps import steps

DRIFT = 1.12  # the day gets so much slower from one leg to the next


def leg(
    seed: int, slower: float = 1.0, noise: int | None = None, loads=(1e6,), **changes
) -> Ledger:
    """A run of workload `seed`; noise: seed of its times."""
    ledger = known_run(
        loads,
        lambda load_tpm: slower * queue_ttft_s(load_tpm),
        turns=150,
        seed=seed if noise is None else noise,
    )
    return replace(ledger, header=header(fingerprint=fingerprint(seed=seed), **changes))


def drifting(order: str, day: int, slower_b: float = 1.0) -> dict[str, Ledger]:
    """The legs of targets A and B in this order through one day, pooled."""
    legs: dict[str, list[Ledger]] = {"A": [], "B": []}
    for place, name in enumerate(order):
        slower = DRIFT**place * (slower_b if name == "B" else 1.0)
        legs[name].append(leg(1 + len(legs[name]), slower, noise=1000 * day + place))
    return {name: pooled(runs) for name, runs in legs.items()}


def ttft_change(runs: dict[str, Ledger]) -> Change:
    """Of the second against the first; each has one level, in one or several rounds."""
    samples = drawn_together(list(runs.values()))
    first, second = (
        LevelSample(sample, *steps(ledger))
        for sample, ledger in zip(samples, runs.values(), strict=True)
    )
    return change(first, second, "ttft", 50)


def test_a_day_that_drifts_fools_one_after_the_other_and_not_turns() -> None:
    """Equal targets, 12% slower from leg to leg, 40 days. One after the other, B seems 25% slower
    and on most days (33) that counts as seen. In turns at most 5 may (2 expected, and two standard
    deviations of 1.4)."""
    days = range(40)
    fooled = sum(bool(ttft_change(drifting("AABB", day)).seen) for day in days)
    in_turns = [ttft_change(drifting("ABBA", day)) for day in days]
    assert fooled >= 28
    assert sum(bool(change.seen) for change in in_turns) <= 5
    factors = [change.by.value for change in in_turns]
    assert np.exp(np.mean(np.log(factors))) == pytest.approx(1.0, abs=0.03)


def test_turns_still_show_a_difference_that_is_there() -> None:
    """B is 40% slower, 20 days; the intervals hold 1.4 in at least 17 (19 expected)."""
    found = [ttft_change(drifting("ABBA", day, slower_b=1.4)).by for day in range(20)]
    assert sum(by.low > 1 for by in found) >= 18
    assert sum(by.low <= 1.4 <= by.high for by in found) >= 17


def test_pooled_rounds_hold_every_turn_once_and_every_level_apart() -> None:
    first, second = leg(1, loads=(1e6, 2e6)), leg(2, loads=(1e6, 2e6))
    both = pooled([first, second])
    assert len(both.records) == len(first.records) + len(second.records)
    assert len({r.session for r in both.records}) == 2 * len({r.session for r in first.records})
    assert [level.index for level in both.levels] == [0, 1, 2, 3]
    assert both.levels[2].started_at_s > max(r.ended_at_s for r in first.records)
    found = compare([StoredRun(Path("a"), both), StoredRun(Path("b"), both)])
    assert [rung.asked for rung in found.rungs] == [1e6, 2e6]
    for rung in found.rungs:
        point = rung.points[0]
        assert point.summary.offered_tpm == pytest.approx(rung.asked, rel=0.01)
        assert point.summary.requests == pytest.approx(2 * 150 * 0.7, abs=2)
        assert point.offered_tpm.value == pytest.approx(point.summary.offered_tpm)
        assert point.ttft_p50_s.value == pytest.approx(point.summary.ttft_s.p50)


def test_rounds_of_one_seed_share_their_sessions() -> None:
    """Repeated sessions are no new evidence: they are drawn together."""
    twice = pooled([leg(1), leg(1)])
    assert {r.session for r in twice.records} == {f"seed 1, {r.session}" for r in leg(1).records}


def test_two_rounds_know_more_than_one() -> None:
    one = compare(
        [StoredRun(Path(name), leg(1, noise=seed)) for name, seed in (("a", 1), ("b", 2))]
    )
    two = ttft_change(
        {"a": pooled([leg(1), leg(2)]), "b": pooled([leg(1, noise=3), leg(2, noise=4)])}
    )
    assert two.error < one.chosen.changes[0][0].error


def series(folder: Path, rounds: Sequence[Ledger]) -> str:
    for number, ledger in enumerate(rounds, 1):
        stored(folder / f"round-{number}", ledger)
    return str(folder)


def test_folders_of_rounds_are_compared(tmp_path, capsys) -> None:
    paths = [
        series(tmp_path / "a", [leg(1), leg(2)]),
        series(tmp_path / "b", [leg(1, 1.5), leg(2, 1.5)]),
    ]
    assert main(["compare", *paths]) == 0
    out = capsys.readouterr().out
    assert "2 rounds pooled (round-1, round-2); SIMULATED by" in " ".join(out.split())
    assert "x1.50 (1.50 to 1.50)" in out
    assert "Left out" not in out
    assert f"{paths[1]}: VALID." in " ".join(out.split())


def test_runs_made_by_hand_are_pooled_by_commas(tmp_path) -> None:
    paths = [str(stored(tmp_path / name, leg(seed))) for name, seed in
             (("a1", 1), ("a2", 2), ("b1", 1), ("b2", 2))]  # fmt: skip
    runs, left_out = open_runs([",".join(paths[:2]), ",".join(paths[2:])])
    assert not left_out
    assert [len(run.ledger.records) for run in runs] == [300, 300]


def cut_off(ledger: Ledger) -> Ledger:
    return replace(ledger, levels=[replace(level, ended_at_s=None) for level in ledger.levels])


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ([], "b has no round-2"),
        ([cut_off(leg(2))], "round-2 was cut off"),
        ([leg(2, loads=(2e6,))], "round-2 has other levels than"),
    ],
)
def test_a_round_without_all_its_legs_is_left_out_and_named(
    tmp_path, capsys, second, reason
) -> None:
    paths = [series(tmp_path / "a", [leg(1), leg(2)]), series(tmp_path / "b", [leg(1), *second])]
    assert main(["compare", *paths]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Left out: round-2; " in out and reason in out
    assert "1 round pooled (round-1)" in out


def test_rounds_without_a_complete_one_are_refused(tmp_path) -> None:
    rounds = series(tmp_path / "a", [leg(1)])
    single = str(stored(tmp_path / "b", leg(1)))
    with pytest.raises(ComparisonError, match="no round is complete: .*/b has no round-1"):
        open_runs([rounds, single])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ([leg(1), leg(3)], "b/round-2 did not send .* of .*/a/round-2: seed: 2 against 3"),
        ([leg(1), replace(leg(2), header=header(fingerprint=fingerprint(seed=2), speed=5.0))],
         "b/round-2 cannot be pooled with .*/b/round-1, of another round: speed: 20 against 5"),
    ],
)  # fmt: skip
def test_legs_that_do_not_belong_together_are_refused_by_name(tmp_path, other, message) -> None:
    paths = [series(tmp_path / "a", [leg(1), leg(2)]), series(tmp_path / "b", other)]
    with pytest.raises(ComparisonError, match=message):
        open_runs(paths)


def test_only_the_seed_may_differ_from_round_to_round(tmp_path) -> None:
    marks = (fingerprint(seed=1), fingerprint(seed=2, profile="chat"))
    rounds = [replace(leg(1), header=header(fingerprint=mark)) for mark in marks]
    paths = [series(tmp_path / name, rounds) for name in ("a", "b")]
    with pytest.raises(ComparisonError, match="of another round: profile: seed against chat"):
        open_runs(paths)


def test_pooling_moves_times_and_changes_none() -> None:
    first, second = leg(1), leg(2)
    moved = pooled([first, second]).records[len(first.records) :]
    shifts = {round(b.scheduled_at_s - a.scheduled_at_s, 6) for a, b in
              zip(second.records, moved, strict=True)}  # fmt: skip
    assert len(shifts) == 1 and shifts.pop() >= LEVEL_S
    assert [r.ttft_s for r in moved] == pytest.approx([r.ttft_s for r in second.records])
