"""Rounds: what one target was measured at several times of the day, as one run.

Targets that take turns (tokenswarm/commands/turns.py) have one leg each in every round. A leg is an
ordinary run; in one round all legs send the same workload, and from round to round only the seed
may differ. What drifts through the day then falls on all targets alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokenswarm.measure.ledger import Ledger, moved, open_run
from tokenswarm.measure.record import Level, TurnRecord
from tokenswarm.measure.verdict import GRADES
from tokenswarm.report.analysis.compare import ComparisonError, StoredRun, asked, require_comparable
from tokenswarm.report.analysis.result import result


@dataclass(frozen=True, slots=True)
class Legs:
    """The runs of one target, by the name of their round; an ordinary run has one, of no name."""

    path: Path
    by_round: Mapping[str, StoredRun]
    called: str = ""


def open_runs(given: Sequence[str]) -> tuple[list[StoredRun], list[str]]:
    """Runs to compare, and what was left out of them, in words.

    given: a run's folder or ledger, a folder of several runs, or several joined by commas; each may
    have a name before it, NAME=RUN. A folder of several has its own name: that of the target.
    Raises ComparisonError, LedgerError, OSError.
    """
    targets = [_legs(text) for text in given]
    if all(set(legs.by_round) == {""} for legs in targets):
        return [replace(legs.by_round[""], called=legs.called) for legs in targets], []
    gaps = _gaps(targets)
    complete = [name for name in _names(targets) if name not in gaps]
    if not complete:
        raise ComparisonError(f"no round is complete: {'; '.join(gaps.values())}")
    for name in complete:
        for legs in targets[1:]:
            require_comparable(targets[0].by_round[name], legs.by_round[name])
    left_out = [f"Left out: {name}; {reason}." for name, reason in gaps.items()]
    return [_pooled(legs, complete) for legs in targets], left_out


def pooled(ledgers: Sequence[Ledger]) -> Ledger:
    """Records and levels of several runs end to end on one clock, with the first one's header.

    A session is named after its seed too: the same name in another round is another session.
    """
    records: list[TurnRecord] = []
    levels: list[Level] = []
    start_s = 0.0
    for ledger in ledgers:
        later = moved(ledger, start_s)
        seed = ledger.header.fingerprint.seed
        records += [replace(r, session=f"seed {seed}, {r.session}") for r in later.records]
        levels += [replace(level, index=len(levels) + n) for n, level in enumerate(later.levels)]
        start_s = _after(later, start_s)
    torn_lines = sum(ledger.torn_lines for ledger in ledgers)
    return Ledger(ledgers[0].header, records, levels, torn_lines)


def _legs(text: str) -> Legs:
    called, text = _named(text)
    path = Path(text)
    if "," in text and not path.exists():
        paths = [Path(part) for part in text.split(",")]
        if len({leg.resolve() for leg in paths}) < len(paths):
            raise ComparisonError(f"{text}: one run is named twice; accepted: each once")
        return Legs(path, {f"round-{n}": _run(leg) for n, leg in enumerate(paths, 1)}, called)
    folders = sorted(path.glob("*/"), key=_in_number_order)
    inside = [folder for folder in folders if any(folder.glob("*.jsonl"))]
    if inside and not any(path.glob("*.jsonl")):
        by_round = {folder.name: _run(folder) for folder in inside}
        return Legs(path, by_round, called or path.resolve().name)
    return Legs(path, {"": _run(path)}, called)


def _named(text: str) -> tuple[str, str]:
    """ "fast=runs/a" in its two parts; a path that holds an equals sign is a path."""
    name, equals, rest = text.partition("=")
    if not equals or "/" in name or Path(text).exists():
        return "", text
    return name, rest


def _in_number_order(path: Path) -> tuple[int, str]:
    """round-10 after round-9."""
    return len(path.name), path.name


def _run(path: Path) -> StoredRun:
    ledger = open_run(path)
    return StoredRun(path, ledger, verdict=result(ledger).verdict)


def _names(targets: Iterable[Legs]) -> list[str]:
    """Of all rounds that any target has."""
    return list(dict.fromkeys(name for legs in targets for name in legs.by_round))


def _gaps(targets: Sequence[Legs]) -> dict[str, str]:
    """Why a round cannot be compared: a leg is missing, was cut off, or has other levels."""
    found = {}
    for name in _names(targets):
        reason = _gap(name, targets)
        if reason:
            found[name] = reason
    return found


def _gap(name: str, targets: Sequence[Legs]) -> str:
    shown = name or "a run without rounds"
    for legs in targets:
        if name not in legs.by_round:
            return f"{legs.path} has no {shown}"
    runs = [legs.by_round[name] for legs in targets]
    for run in runs:
        if not run.ledger.levels or any(level.ended_at_s is None for level in run.ledger.levels):
            return f"{run.path} was cut off"
        if _ladder(run) != _ladder(runs[0]):
            return f"{run.path} has other levels than {runs[0].path}"
    return ""


def _ladder(run: StoredRun) -> list[float | None]:
    return [asked(level) for level in run.ledger.levels]


def _pooled(legs: Legs, names: Sequence[str]) -> StoredRun:
    runs = [legs.by_round[name] for name in names]
    for run in runs[1:]:
        _require_one_target(runs[0], run)
    ledger = pooled([run.ledger for run in runs])
    verdicts = [run.verdict for run in runs if run.verdict is not None]
    worst = max(verdicts, key=lambda verdict: GRADES.index(verdict.grade), default=None)
    return StoredRun(legs.path, ledger, rounds=tuple(names), verdict=worst, called=legs.called)


def _require_one_target(first: StoredRun, run: StoredRun) -> None:
    """Raises ComparisonError: only the seed may differ from round to round."""
    before, now = first.header, run.header
    mark = replace(now.fingerprint, seed=before.fingerprint.seed)
    differences = before.fingerprint.differences(mark)
    for name in ("engine", "model", "gpus", "simulated"):
        mine, theirs = getattr(before.target, name), getattr(now.target, name)
        if mine != theirs:
            differences.append(f"{name}: {mine} against {theirs}")
    if before.speed != now.speed:
        differences.append(f"speed: {before.speed:g} against {now.speed:g}")
    if _ladder(first) != _ladder(run):
        differences.append("levels")
    if differences:
        raise ComparisonError(
            f"{run.path} cannot be pooled with {first.path}, of another round: "
            f"{'; '.join(differences)}"
        )


def _after(ledger: Ledger, start_s: float) -> float:
    """The whole second after everything that happened. A shift by parts of one would round stamps,
    and two targets' turns on the edge of a block would no longer lie in the same block."""
    level_ends = [level.ended_at_s or start_s for level in ledger.levels]
    turn_ends = [max(record.scheduled_at_s, record.ended_at_s) for record in ledger.records]
    return math.floor(max([start_s, *level_ends, *turn_ends])) + 1.0
