"""Tables: the numbers of a run, once, for the page, for Markdown and for CSV and JSON files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tokenswarm.measure.quantiles import Spread, claimable
from tokenswarm.report.analysis.curve import CurvePoint
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.notation import (
    TOO_FEW,
    UNKNOWN,
    asked_text,
    number_text,
    percentile_text,
    share_text,
    slo_text,
    tpm_text,
)
from tokenswarm.report.text import books, failures, routing, workload
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text.objectives import cell_text, judge
from tokenswarm.report.text.table import Cell, Column, Table


def tables(found: Result) -> list[Table]:
    """Every table there is something to put into."""
    made = [
        levels(found),
        objectives(found),
        failures.by_level(found),
        failures.by_kind(found),
        workload.table(found.workload),
        books.table(found.books),
        routing.table(found.routing),
        checks(found),
    ]
    return [table for table in made if table.rows]


# Of `levels`, as the page shows them: one table would be wider than a screen.
TRAFFIC = (
    *("level", "asked", "offered_tpm", "achieved_tpm", "achieved_tpm_per_gpu", "turns", "failed"),
    *("goodput", "ttft_p50_s", "ttft_p90_s", "ttft_p95_s", "ttft_p99_s", "steady"),
)
ANSWERS = (
    *("level", "asked", "decode_tps_p50", "decode_tps_p10", "tpot_p50_s", "e2e_p50_s", "e2e_p90_s"),
    *("output_tps", "output_tps_per_gpu", "output_tokens_mean", "hit_share", "ideal_hit_share"),
)


def levels(found: Result) -> Table:
    """Everything that is known of each level."""
    columns = _level_columns(found)
    rows = [tuple(cell(point) for _, cell in columns) for point in found.curve.points]
    return Table("levels", "Levels", tuple(column for column, _ in columns), tuple(rows))


def _level_columns(found: Result) -> list[tuple[Column, Callable[[CurvePoint], Cell]]]:
    gpus = found.ledger.header.target.gpus

    def per_gpu(rate: Interval, text: Callable[[float | None], str]) -> Cell:
        """Its interval is that of the whole, divided; it is left to the files."""
        share = found.curve.per_gpu(rate)
        return Cell(text(share.value), share.value, share.low, share.high)

    def count(number: int) -> Cell:
        return Cell(f"{number:,}", number)

    return [
        (Column("level", "#"), lambda p: Cell(str(p.level.index), p.level.index)),
        (
            Column("asked", "target"),
            lambda p: Cell(asked_text(p.level), p.level.target_tpm or p.level.developers),
        ),
        (Column("offered_tpm", "offered TPM", True), lambda p: Cell.of(p.offered_tpm, tpm_text)),
        (Column("achieved_tpm", "achieved TPM", True), lambda p: Cell.of(p.achieved_tpm, tpm_text)),
        *(
            [
                (
                    Column("achieved_tpm_per_gpu", "per GPU", True),
                    lambda p: per_gpu(p.achieved_tpm, tpm_text),
                )
            ]
            if gpus
            else []
        ),
        (Column("turns", "turns"), lambda p: count(p.summary.requests)),
        (Column("failed", "failed"), lambda p: count(p.summary.failed)),
        (Column("ttft_p50_s", "TTFT p50, s", True), lambda p: _ttft(p, 50, p.ttft_p50_s)),
        (Column("ttft_p90_s", "p90", True), lambda p: _ttft(p, 90, p.ttft_p90_s)),
        (Column("ttft_p95_s", "p95", True), lambda p: _ttft(p, 95, p.ttft_p95_s)),
        (Column("ttft_p99_s", "p99", True), lambda p: _ttft(p, 99, p.ttft_p99_s)),
        (Column("decode_tps_p50", "TPS p50", True), _speed),
        (Column("decode_tps_p10", "p10"), lambda p: _percentile(p.summary.decode_tps, 10)),
        (Column("tpot_p50_s", "TPOT p50, ms"), lambda p: _milliseconds(p.summary.tpot_s, 50)),
        (Column("e2e_p50_s", "end to end p50, s"), lambda p: _percentile(p.summary.e2e_s, 50)),
        (Column("e2e_p90_s", "p90"), lambda p: _percentile(p.summary.e2e_s, 90)),
        (
            Column("output_tps", "output tokens/s, all users"),
            lambda p: Cell(number_text(p.summary.output_tps), p.summary.output_tps),
        ),
        *(
            [
                (
                    Column("output_tps_per_gpu", "per GPU", True),
                    lambda p: per_gpu(Interval(p.summary.output_tps), number_text),
                )
            ]
            if gpus
            else []
        ),
        (
            Column("output_tokens_mean", "output tokens a turn"),
            lambda p: Cell(number_text(p.summary.output_tokens.mean), p.summary.output_tokens.mean),
        ),
        (Column("goodput", "goodput", True), lambda p: Cell.of(p.goodput, share_text)),
        (Column("hit_share", "cache hits", True), lambda p: Cell.of(p.hit_share, share_text)),
        (
            Column("ideal_hit_share", "best"),
            lambda p: Cell(share_text(p.summary.ideal_hit_share), p.summary.ideal_hit_share),
        ),
        (Column("steady", "steady"), _steady),
    ]


def objectives(found: Result) -> Table:
    """Every SLO that was asked for, at every level."""
    columns = (
        Column("slo", "objective", words=True),
        *(Column(f"level_{s.level.index}", f"level {s.level.index}") for s in found.steps),
    )
    rows = [
        (
            Cell(slo_text(row[0].slo), row[0].slo.text),
            *(Cell(cell_text(judgement), judgement.met) for judgement in row),
        )
        for row in judge(found.steps, found.slos)
        if row
    ]
    return Table("objectives", "Objectives", columns, tuple(rows))


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
    columns = tuple(Column(key, head, words=True) for key, head in zip(keys, heads, strict=True))
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


def _ttft(point: CurvePoint, percent: int, ttft_s: Interval) -> Cell:
    """As in the terminal: marked where too few turns claim it, ">82.7" where it was cut off."""
    cell = Cell.of(ttft_s, number_text)
    return replace(cell, text=percentile_text(point.summary.ttft_s, percent))


def _speed(point: CurvePoint) -> Cell:
    cell = Cell.of(point.decode_tps_p50, number_text)
    return replace(cell, text=percentile_text(point.summary.decode_tps, 50))


def _percentile(spread: Spread, percent: int) -> Cell:
    return Cell(percentile_text(spread, percent), spread.at(percent))


def _milliseconds(spread: Spread, percent: int) -> Cell:
    """A time per token is a few thousandths of a second; files keep the seconds."""
    value = spread.at(percent)
    few = "" if value is None or claimable(percent / 100, spread.count) else TOO_FEW
    return Cell(number_text(None if value is None else value * 1000) + few, value)


def _steady(point: CurvePoint) -> Cell:
    steady = point.steadiness.steady
    text = {True: "yes", False: "no", None: "too few turns"}[steady]
    return Cell(text, steady)
