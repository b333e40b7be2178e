"""Tables: the numbers of a run, once, for the page, for Markdown and for CSV and JSON files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape

from tokenswarm.report.analysis.curve import CurvePoint
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.notation import (
    UNKNOWN,
    asked_text,
    number_text,
    percentile_text,
    share_text,
    tpm_text,
)
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text import workload as workload_text
from tokenswarm.report.text.objectives import cell_text, judge

Value = float | int | str | bool | None


@dataclass(frozen=True, slots=True)
class Cell:
    """text: for people; value: the number behind it, whole; low, high: its interval, which
    `range_text` writes for people."""

    text: str
    value: Value
    low: float | None = None
    high: float | None = None
    range_text: str = ""

    @classmethod
    def of(cls, interval: Interval, text: Callable[[float | None], str]) -> Cell:
        low, high = interval.low, interval.high
        bounded = interval.value is not None and (low is not None or high is not None)
        said = f"{text(low)} to {text(high)}" if bounded else ""
        return cls(text(interval.value), interval.value, low, high, said)


@dataclass(frozen=True, slots=True)
class Column:
    """key: of files; head: for people; spread: its cells have intervals."""

    key: str
    head: str
    spread: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def records(self) -> list[dict[str, Value]]:
        """One object a row, intervals in columns of their own."""
        return [
            {
                key: value
                for column, cell in zip(self.columns, row, strict=True)
                for key, value in _flat(column, cell)
            }
            for row in self.rows
        ]


def tables(found: Result) -> list[Table]:
    """Every table there is something to put into."""
    made = [levels(found), objectives(found), failures(found), workload(found), checks(found)]
    return [table for table in made if table.rows]


def levels(found: Result) -> Table:
    gpus = found.ledger.header.target.gpus
    columns = [
        Column("level", "#"),
        Column("asked", "asked for"),
        Column("offered_tpm", "offered TPM", spread=True),
        Column("achieved_tpm", "answered TPM", spread=True),
        *([Column("achieved_tpm_per_gpu", "per GPU", spread=True)] if gpus else []),
        Column("turns", "turns"),
        Column("failed", "failed"),
        Column("ttft_p50_s", "TTFT p50", spread=True),
        Column("ttft_p90_s", "p90", spread=True),
        Column("ttft_p99_s", "p99", spread=True),
        Column("decode_tps_p50", "TPS p50", spread=True),
        Column("goodput", "goodput", spread=True),
        Column("hit_share", "cache hits", spread=True),
        Column("ideal_hit_share", "best"),
        Column("steady", "steady"),
    ]
    rows = [
        (
            Cell(str(point.level.index), point.level.index),
            Cell(asked_text(point.level), point.level.target_tpm or point.level.developers),
            Cell.of(point.offered_tpm, tpm_text),
            Cell.of(point.achieved_tpm, tpm_text),
            *([_per_gpu(found, point)] if gpus else []),
            Cell(f"{point.summary.requests:,}", point.summary.requests),
            Cell(f"{point.summary.failed:,}", point.summary.failed),
            _ttft(point, 50, point.ttft_p50_s),
            _ttft(point, 90, point.ttft_p90_s),
            _ttft(point, 99, point.ttft_p99_s),
            Cell.of(point.decode_tps_p50, number_text),
            Cell.of(point.goodput, share_text),
            Cell.of(point.hit_share, share_text),
            Cell(share_text(point.summary.ideal_hit_share), point.summary.ideal_hit_share),
            _steady(point),
        )
        for point in found.curve.points
    ]
    return Table("levels", "Levels", tuple(columns), tuple(rows))


def objectives(found: Result) -> Table:
    """Every SLO that was asked for, at every level."""
    columns = (
        Column("slo", "objective"),
        *(Column(f"level_{s.level.index}", f"level {s.level.index}") for s in found.steps),
    )
    rows = [
        (
            Cell(row[0].slo.text, row[0].slo.text),
            *(Cell(cell_text(judgement), judgement.met) for judgement in row),
        )
        for row in judge(found.steps, found.slos)
        if row
    ]
    return Table("objectives", "Objectives", columns, tuple(rows))


def failures(found: Result) -> Table:
    """By kind, over the levels and the whole run."""
    kinds = list(found.whole.failures)
    summaries = [(f"level {step.level.index}", step.summary) for step in found.steps]
    summaries.append(("whole run", found.whole))
    columns = (Column("where", ""), Column("turns", "turns"), *(Column(k, k) for k in kinds))
    rows = [
        (
            Cell(name, name),
            Cell(f"{summary.requests:,}", summary.requests),
            *(Cell(str(n), n) for n in (summary.failures.get(kind, 0) for kind in kinds)),
        )
        for name, summary in summaries
        if kinds
    ]
    return Table("failures", "Failures", columns, tuple(rows))


def workload(found: Result) -> Table:
    """What was sent against what was promised."""
    keys = ("quantity", "target", "sent", "deviation", "tolerance", "verdict")
    columns = tuple(Column(key, "" if key == "verdict" else key) for key in keys)
    rows = []
    for row in found.workload:
        values = (row.quantity, row.target, row.realised, row.deviation, row.tolerance, row.verdict)
        cells = zip(workload_text.cells(row), values, strict=True)
        rows.append(tuple(Cell(text, value) for text, value in cells))
    return Table("workload", "Workload", columns, tuple(rows))


def checks(found: Result) -> Table:
    """What the verdict is made of."""
    keys = ("check", "grade", "figure", "suspect_above", "invalid_above", "finding", "source")
    heads = (
        "check",
        "grade",
        "figure",
        "suspect above",
        "invalid above",
        "what it is",
        "why there",
    )
    columns = tuple(Column(key, head) for key, head in zip(keys, heads, strict=True))
    rows = [
        (
            Cell(check.name, check.name),
            Cell(check.grade or "not checked", check.grade),
            Cell(verdict_text.figure_text(check) or UNKNOWN, check.figure),
            Cell(verdict_text.limit_text(check, check.limits.suspect), check.limits.suspect),
            Cell(verdict_text.limit_text(check, check.limits.invalid), check.limits.invalid),
            Cell(check.finding, check.finding),
            Cell(check.limits.source, check.limits.source),
        )
        for check in found.verdict.checks
    ]
    return Table("checks", "Checks of the run itself", columns, tuple(rows))


def markdown(table: Table) -> str:
    """A pipe table, intervals in brackets."""
    lines = [
        _piped([column.head for column in table.columns]),
        _piped(["---"] * len(table.columns)),
        *(_piped([_in_brackets(cell) for cell in row]) for row in table.rows),
    ]
    return "\n".join(lines)


def _piped(texts: Sequence[str]) -> str:
    escaped = (escape(" ".join(text.split()), quote=False).replace("|", "\\|") for text in texts)
    return f"| {' | '.join(escaped)} |"


def _in_brackets(cell: Cell) -> str:
    return cell.text if not cell.range_text else f"{cell.text} ({cell.range_text})"


def _flat(column: Column, cell: Cell) -> list[tuple[str, Value]]:
    ends: list[tuple[str, Value]] = [(column.key, cell.value)]
    if column.spread:
        ends += [(f"{column.key}_low", cell.low), (f"{column.key}_high", cell.high)]
    return ends


def _per_gpu(found: Result, point: CurvePoint) -> Cell:
    """Its interval is that of the answered TPM, divided; it is left to the files."""
    tpm = found.curve.per_gpu(point.achieved_tpm)
    return Cell(tpm_text(tpm.value), tpm.value, tpm.low, tpm.high)


def _ttft(point: CurvePoint, percent: int, ttft_s: Interval) -> Cell:
    """As in the terminal: marked where too few turns claim it, ">82.7" where it was cut off."""
    cell = Cell.of(ttft_s, number_text)
    return replace(cell, text=percentile_text(point.summary.ttft_s, percent))


def _steady(point: CurvePoint) -> Cell:
    steady = point.steadiness.steady
    text = {True: "yes", False: "no", None: "too few turns"}[steady]
    return Cell(text, steady)
