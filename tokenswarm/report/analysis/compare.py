"""Compare: runs of one workload side by side, at one traffic level and along the ladder.

Two runs may be compared only if their fingerprints are equal: the same sessions were sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenswarm.measure.ending import Ending
from tokenswarm.measure.ledger import Header, Ledger
from tokenswarm.measure.record import Level
from tokenswarm.measure.slo import Slo
from tokenswarm.measure.verdict import INVALID, Verdict, kept_up
from tokenswarm.report.analysis.bill import Request
from tokenswarm.report.analysis.capacity import Capacity, capacities
from tokenswarm.report.analysis.change import Change, change
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.jobs import Jobs, jobs
from tokenswarm.report.analysis.point import CurvePoint, point
from tokenswarm.report.analysis.result import DEFAULT_OBJECTIVE
from tokenswarm.report.analysis.sample import LevelSample, drawn_together
from tokenswarm.report.analysis.steps import Step, steps
from tokenswarm.report.notation import tpm_text

METRICS = (("ttft", 50), ("ttft", 90), ("tps", 50))  # what differences are shown of


class ComparisonError(ValueError):
    """Runs that may not be compared, or not at this level: names the runs and the difference."""


@dataclass(frozen=True)  # without slots, for what is worked out once
class StoredRun:
    """A run and where it was read from. rounds: the names of those that `ledger` was pooled from
    by report.analysis.rounds; none of an ordinary run. verdict: the worst of the rounds'. called:
    what a person calls it, if anything."""

    path: Path
    ledger: Ledger
    rounds: tuple[str, ...] = ()
    verdict: Verdict | None = None
    called: str = ""

    @property
    def name(self) -> str:
        return self.called or self.engine

    @property
    def engine(self) -> str:
        target = self.header.target
        return target.engine or target.model

    @property
    def invalid(self) -> bool:
        """Whether its figures are not to be used."""
        return self.verdict is not None and self.verdict.grade == INVALID

    @cached_property
    def jobs(self) -> Jobs | None:
        """Sessions as tasks; None where none ended, and of pooled rounds, which each began anew."""
        if len(self.rounds) > 1:
            return None
        return jobs(self.ledger.records, self.header.target.gpus)

    def per_gpu(self, rate: Interval) -> Interval:
        """rate / GPUs; unknown where they are not declared."""
        gpus = self.header.target.gpus
        return rate.scaled(1 / gpus) if gpus else Interval()

    @property
    def header(self) -> Header:
        return self.ledger.header


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One level that all runs have: a point of each, and the changes against the first run."""

    asked: float  # target TPM, or developers in closed mode
    points: tuple[CurvePoint, ...]  # by run
    changes: tuple[tuple[Change, ...], ...]  # by run but the first, then by METRICS

    def kept_up(self, run: int) -> bool:
        """Whether the run answered what was offered."""
        return kept_up(self.points[run].summary)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """objectives: what goodput and capacity are of, DEFAULT_OBJECTIVE where none was asked for;
    capacities: of all objectives together, from all levels of the run; None where they are on TPM
    itself."""

    runs: tuple[StoredRun, ...]
    rungs: tuple[Rung, ...]  # from the lowest on
    chosen: Rung  # what the headline is about
    shared_sessions: tuple[int, ...]  # of each run but the first, with the first
    objectives: tuple[Slo, ...]
    capacities: tuple[Capacity | None, ...]  # by run

    @property
    def mode(self) -> str:
        return self.runs[0].header.fingerprint.mode

    @property
    def names(self) -> tuple[str, ...]:
        """What each run is called: as a person did, else its engine, with its folder where two have
        the same."""
        names = [run.name for run in self.runs]
        return tuple(
            f"{run.name} ({run.path.name})" if names.count(run.name) > 1 else run.name
            for run in self.runs
        )

    def request(self, run: int) -> Request | None:
        """The mean request of the run at the chosen level; None where sizes are unknown."""
        summary = self.chosen.points[run].summary
        input_tokens, output_tokens = summary.prompt_tokens.mean, summary.output_tokens.mean
        if not input_tokens or output_tokens is None:
            return None
        hit_share = summary.hit_share
        return Request(
            input_tokens=input_tokens,
            cached_tokens=None if hit_share is None else hit_share * input_tokens,
            output_tokens=output_tokens,
        )


def compare(
    runs: Sequence[StoredRun], at: float | None = None, slos: Sequence[Slo] = ()
) -> Comparison:
    """at: target TPM (developers in closed mode) of the headline; else the highest level that
    some run keeps up with. Raises ComparisonError."""
    objectives = tuple(slos) or (Slo.parse(DEFAULT_OBJECTIVE),)
    for run in runs[1:]:
        require_comparable(runs[0], run)
    samples = drawn_together([run.ledger for run in runs])
    ladders = [
        {load: LevelSample(sample, *same) for load, same in by_load(steps(run.ledger)).items()}
        for run, sample in zip(runs, samples, strict=True)
    ]
    rungs = [
        _rung(load, [ladder[load] for ladder in ladders], objectives)
        for load in _common(runs, [list(ladder) for ladder in ladders])
    ]
    first, *others = (set(sample.columns.sessions) for sample in samples)
    return Comparison(
        runs=tuple(runs),
        rungs=tuple(rungs),
        chosen=_chosen(runs, rungs, at),
        shared_sessions=tuple(len(first & other) for other in others),
        objectives=objectives,
        capacities=tuple(_capacity(list(ladder.values()), objectives) for ladder in ladders),
    )


def _capacity(levels: Sequence[LevelSample], objectives: Sequence[Slo]) -> Capacity | None:
    """Of all objectives together."""
    found = capacities(levels, objectives)
    return found[-1] if found else None


def by_load(levels: Iterable[Step]) -> dict[float | None, list[Step]]:
    """The steps of one load together: of an alternation there is one in each round."""
    found: dict[float | None, list[Step]] = {}
    for step in levels:
        found.setdefault(asked(step.level), []).append(step)
    return found


def require_comparable(first: StoredRun, run: StoredRun) -> None:
    """Raises ComparisonError that names what differs."""
    differences = first.header.fingerprint.differences(run.header.fingerprint)
    differences += _arrival_differences(first.ledger, run.ledger)
    if differences:
        raise ComparisonError(
            f"{run.path} did not send the workload of {first.path}: {'; '.join(differences)}"
        )


def _arrival_differences(first: Ledger, other: Ledger) -> Iterator[str]:
    """How turns came, and whether caches knew their text from an earlier run."""
    spread = first.header.arrival_cv, other.header.arrival_cv
    if spread[0] != spread[1]:
        yield f"arrival cv: {spread[0]:g} against {spread[1]:g}"
    one, two = first.ending, other.ending
    if one is not None and two is not None and one.salted != two.salted:
        yield f"text {_salted(one)} against {_salted(two)}"


def _salted(ending: Ending) -> str:
    return "new to any cache" if ending.salted else "of earlier runs (--warm)"


def asked(level: Level) -> float | None:
    """What the level asked for: TPM, or developers; None for a run without levels."""
    return level.developers if level.target_tpm is None else level.target_tpm


def load_text(load: float | None, mode: str) -> str:
    return f"{tpm_text(load)} input TPM" if mode == "tpm" else f"{load:g} developers"


def pick(loads: Sequence[float], at: float, mode: str) -> float:
    """The load that is meant by `at`. Raises ComparisonError."""
    for load in loads:
        if abs(load - at) <= 1e-6 * at:
            return load
    tried = ", ".join(load_text(load, mode) for load in loads)
    raise ComparisonError(f"--at {at:g}: accepted are levels that all runs have: {tried}")


def _common(runs: Sequence[StoredRun], ladders: Sequence[Sequence[float | None]]) -> list[float]:
    known = [{load for load in ladder if load is not None} for ladder in ladders]
    common = set.intersection(*known)
    if not common:
        names = ", ".join(str(run.path) for run in runs)
        raise ComparisonError(f"{names} have no traffic level in common")
    return sorted(common)


def _rung(load: float, levels: Sequence[LevelSample], slos: Sequence[Slo]) -> Rung:
    return Rung(
        asked=load,
        points=tuple(point(level, slos) for level in levels),
        changes=tuple(
            tuple(change(levels[0], level, name, percent) for name, percent in METRICS)
            for level in levels[1:]
        ),
    )


def _chosen(runs: Sequence[StoredRun], rungs: Sequence[Rung], at: float | None) -> Rung:
    if at is not None:
        mode = runs[0].header.fingerprint.mode
        load = pick([rung.asked for rung in rungs], at, mode)
        return next(rung for rung in rungs if rung.asked == load)
    carried = [rung for rung in rungs if any(map(rung.kept_up, range(len(runs))))]
    return (carried or rungs)[-1]
