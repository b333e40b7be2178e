"""Side by side: the numbers of a comparison, once, for terminal, page, Markdown, CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tokenswarm.measure.quantiles import claimable
from tokenswarm.measure.slo import Slo
from tokenswarm.measure.tally import Summary
from tokenswarm.measure.verdict import Verdict
from tokenswarm.report.analysis.capacity import Capacity
from tokenswarm.report.analysis.change import Change
from tokenswarm.report.analysis.compare import Comparison, Rung, StoredRun, load_text
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.point import CurvePoint
from tokenswarm.report.notation import (
    TOO_FEW,
    UNKNOWN,
    interval_text,
    number_text,
    percentile_text,
    share_text,
    slo_text,
    target_text,
    tpm_text,
)
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text.table import Cell, Column, Table

CHANGES = (("ttft_p50", "TTFT p50"), ("ttft_p90", "TTFT p90"), ("tps_p50", "TPS p50"))
LEVEL_COLUMNS = (
    Column("level", "level", words=True),
    Column("target", "target", words=True),
    Column("verdict", "verdict", words=True),
    Column("gpus", "GPUs"),
    Column("ttft_p50_s", "TTFT p50, s", True),
    Column("ttft_p90_s", "TTFT p90, s", True),
    Column("decode_tps_p50", "TPS p50", True),
    Column("decode_tps_p10", "TPS p10"),
    Column("offered_tpm_per_gpu", "TPM per GPU"),
    Column("offered_tpm", "offered TPM", True),
    Column("achieved_tpm", "achieved TPM", True),
    Column("output_tps", "output tokens/s"),
    Column("hit_share", "cache hits", True),
    Column("goodput", "goodput", True),
    Column("turns", "turns"),
    Column("failed", "failed"),
    Column("engine", "engine", words=True),
    Column("run", "run", words=True),
)
HEADLINE = (
    *("target", "gpus", "ttft_p50_s", "ttft_p90_s", "decode_tps_p50", "offered_tpm_per_gpu"),
    *("achieved_tpm", "hit_share", "goodput", "failed", "verdict"),
)
EVERY_LEVEL = (
    *("level", "target", "ttft_p50_s", "ttft_p90_s", "decode_tps_p50", "decode_tps_p10"),
    *("achieved_tpm", "output_tps", "hit_share", "goodput", "turns", "failed", "verdict"),
)
TERMINAL = (
    *("target", "gpus", "ttft_p50_s", "decode_tps_p50", "offered_tpm_per_gpu", "achieved_tpm"),
    "verdict",
)


def names(found: Comparison) -> list[str]:
    """Each with its engine where it is called otherwise, and that it is simulated where it is."""
    shown = []
    for name, run in zip(found.names, found.runs, strict=True):
        said = [run.engine] if run.engine not in name else []
        said += ["simulated"] if run.header.target.simulated else []
        shown.append(f"{name} ({', '.join(said)})" if said else name)
    return shown


def headline(found: Comparison) -> Table:
    """The table of the published study: every run at one load."""
    title = f"At {load_text(found.chosen.asked, found.mode)}"
    whole = Table("headline", title, LEVEL_COLUMNS, tuple(_rung_rows(found, found.chosen)))
    return whole.picked("headline", title, HEADLINE)


def levels(found: Comparison) -> Table:
    """Every run at every level that all of them have."""
    rows = [row for rung in found.rungs for row in _rung_rows(found, rung)]
    return Table("levels", "Every level", LEVEL_COLUMNS, tuple(rows))


def _rung_rows(found: Comparison, rung: Rung) -> list[tuple[Cell, ...]]:
    runs = zip(names(found), found.runs, rung.points, strict=True)
    return [_row(found, rung, name, run, at) for name, run, at in runs]


def _row(
    found: Comparison, rung: Rung, name: str, run: StoredRun, at: CurvePoint
) -> tuple[Cell, ...]:
    gpus, of = run.header.target.gpus, at.summary
    per_gpu = run.per_gpu(Interval(of.offered_tpm)).value
    few = "" if claimable(0.5, of.decode_tps.count) else TOO_FEW
    speed = Cell.of(at.decode_tps_p50, number_text)
    return (
        Cell(short_load_text(rung.asked, found.mode), rung.asked),
        Cell(name, name),
        grade(run.verdict),
        Cell(UNKNOWN if gpus is None else str(gpus), gpus),
        _ttft(of, 50, at.ttft_p50_s),
        _ttft(of, 90, at.ttft_p90_s),
        replace(speed, text=speed.text + (few if speed.value is not None else "")),
        Cell(percentile_text(of.decode_tps, 10), of.decode_tps.p10),
        Cell(tpm_text(per_gpu), per_gpu),
        replace(Cell.of(at.offered_tpm, tpm_text), range_text=""),
        replace(Cell.of(at.achieved_tpm, tpm_text), range_text=""),
        Cell(number_text(of.output_tps), of.output_tps),
        Cell.of(at.hit_share, share_text),
        Cell.of(at.goodput, share_text),
        Cell(f"{of.requests:,}", of.requests),
        Cell(f"{of.failed:,}", of.failed),
        Cell(run.engine, run.engine),
        Cell(str(run.path), str(run.path)),
    )


def _ttft(of: Summary, percent: int, ttft_s: Interval) -> Cell:
    """Marked where too few turns claim it, ">82.7" where it was cut off."""
    return replace(Cell.of(ttft_s, number_text), text=percentile_text(of.ttft_s, percent))


def short_load_text(load: float, mode: str) -> str:
    """For a column of loads."""
    return tpm_text(load) if mode == "tpm" else f"{load:g} devs"


def grade(verdict: Verdict | None) -> Cell:
    return Cell(UNKNOWN, None) if verdict is None else Cell(verdict.grade, verdict.grade)


def changes(found: Comparison) -> Table:
    """Each run against the first, level by level: paired, as factors."""
    columns = (
        Column("level", "level", words=True),
        Column("target", "target", words=True),
        *(Column(f"{key}_factor", head, True) for key, head in CHANGES),
    )
    others = found.names[1:]
    rows = [
        (
            Cell(short_load_text(rung.asked, found.mode), rung.asked),
            Cell(name, name),
            *(Cell(change_text(c), c.by.value, c.by.low, c.by.high) for c in of_run),
        )
        for rung in found.rungs
        for name, of_run in zip(others, rung.changes, strict=True)
    ]
    return Table("changes", f"Against {found.names[0]}, as a factor", columns, tuple(rows))


def change_text(change: Change) -> str:
    """x1.55 (1.40 to 1.71); in brackets where it is inside the noise."""
    if change.by.value is None:
        return UNKNOWN
    shown = "x" + interval_text(change.by, number_text)
    return shown if change.seen else f"[{shown}]"


def capacities(found: Comparison) -> Table:
    """What each run carries under the objectives."""
    columns = (
        Column("target", "target", words=True),
        Column("capacity_tpm", "capacity, input TPM", True),
        Column("capacity_tpm_per_gpu", "per GPU", True),
        Column("met_at_tpm", "met at"),
        Column("missed_at_tpm", "missed at"),
        Column("claimed", "can be claimed", words=True),
        Column("verdict", "verdict", words=True),
    )
    rows = [
        (
            Cell(name, name),
            _capacity(capacity, lambda tpm: tpm),
            _capacity(capacity, run.per_gpu),
            Cell(tpm_text(capacity.met_at_tpm), capacity.met_at_tpm),
            Cell(tpm_text(capacity.missed_at_tpm), capacity.missed_at_tpm),
            _claimed(capacity, run),
            grade(run.verdict),
        )
        for name, run, capacity in zip(names(found), found.runs, found.capacities, strict=True)
        if capacity is not None
    ]
    return Table("capacities", f"Capacity under {objectives_text(found)}", columns, tuple(rows))


def jobs(found: Comparison) -> Table:
    """Sessions as tasks, of each whole run; those with none that ended are left out."""
    columns = (
        Column("target", "target", words=True),
        Column("task_s", "time per task, s", True),
        Column("waiting_s", "of it waiting, s", True),
        Column("waiting_minutes_per_developer_hour", "waiting min per developer-hour", True),
        Column("tasks_per_hour", "tasks per hour", True),
        Column("tasks_per_gpu_hour", "per GPU-hour", True),
        Column("verdict", "verdict", words=True),
    )
    rows = [
        (
            Cell(name, name),
            *(Cell.of(getattr(seen, column.key), number_text) for column in columns[1:-1]),
            grade(run.verdict),
        )
        for name, run in zip(names(found), found.runs, strict=True)
        if (seen := run.jobs) is not None
    ]
    return Table("jobs", "Sessions as tasks, whole runs", columns, tuple(rows))


def objectives_text(found: Comparison) -> str:
    return " and ".join(slo_text(slo) for slo in found.objectives if _decides(slo))


def _decides(slo: Slo) -> bool:
    """An SLO on TPM itself has no capacity."""
    return slo.metric != "tpm"


def _capacity(capacity: Capacity, per: Callable[[Interval], Interval]) -> Cell:
    tpm = per(capacity.carried_tpm)
    cell = Cell.of(tpm, tpm_text)
    if capacity.bound == "above" and tpm.value is not None:
        return replace(cell, text=f"{cell.text} or more", range_text="")
    if capacity.bound == "below":
        lowest = per(Interval(capacity.missed_at_tpm)).value
        return replace(cell, text=f"below {tpm_text(lowest)}" if lowest else UNKNOWN)
    return cell


def _claimed(capacity: Capacity, run: StoredRun) -> Cell:
    if run.invalid:
        return Cell("no: the run is INVALID", False)
    said = "yes" if capacity.claimed else f"no: {capacity.reason}"
    return Cell(said, capacity.claimed)


def notes(found: Comparison) -> list[str]:
    """What qualifies the tables, a sentence each."""
    shared = ", ".join(
        f"{count:,} with {name}"
        for count, name in zip(found.shared_sessions, found.names[1:], strict=True)
    )
    said = [
        "In brackets behind a figure: its 95% interval. [Factors] are inside the noise.",
        f"Paired by session: {found.names[0]} shares {shared}.",
        *_overloaded(found),
    ]
    for run in found.runs:
        said.append(f"{run.path}: {_rounds(run)}{target_text(run.header)}")
        if run.verdict is not None:
            said.append(f"{run.path}: {verdict_text.short(run.verdict)}.")
    return said


def _rounds(run: StoredRun) -> str:
    if not run.rounds:
        return ""
    count = "1 round" if len(run.rounds) == 1 else f"{len(run.rounds)} rounds"
    return f"{count} pooled ({', '.join(run.rounds)}); "


def _overloaded(found: Comparison) -> list[str]:
    behind = [name for run, name in enumerate(found.names) if not found.chosen.kept_up(run)]
    if not behind:
        return []
    return [f"Not kept up with at this level: {', '.join(behind)}. TTFT there grows with time."]


def answer(found: Comparison) -> list[str]:
    """The comparison in a few sentences; of an INVALID run no figure is claimed."""
    load = load_text(found.chosen.asked, found.mode)
    known = [
        f"{name} {number_text(at.ttft_p50_s.value)} s"
        for name, run, at in _at_chosen(found)
        if not run.invalid
    ]
    invalid = [name for name, run, _ in _at_chosen(found) if run.invalid]
    said = [f"TTFT p50 at {load}: {', '.join(known)}."] if known else []
    if not said:
        said = ["Every run is INVALID: nothing can be claimed about any of them."]
    elif invalid:
        said.append(f"INVALID, so nothing is claimed about it: {', '.join(invalid)}.")
    return [*said, *_differences(found), *_overloaded(found)]


def _at_chosen(found: Comparison) -> Any:
    return zip(found.names, found.runs, found.chosen.points, strict=True)


def _differences(found: Comparison) -> list[str]:
    if found.runs[0].invalid:
        return []
    said = []
    for name, run, of_run in zip(
        found.names[1:], found.runs[1:], found.chosen.changes, strict=True
    ):
        if run.invalid:
            continue
        ttft, _, speed = of_run
        said.append(
            f"{name} against {found.names[0]}: TTFT p50 {_seen(ttft)}, TPS p50 {_seen(speed)}."
        )
    return said


def _seen(change: Change) -> str:
    if change.by.value is None:
        return "unknown"
    if not change.seen:
        return f"no difference seen, {interval_text(change.by, number_text)} times"
    return f"{interval_text(change.by, number_text)} times"
