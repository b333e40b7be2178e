"""Quick: how sure a first look (--quick) is. Its levels are short, and a few turns decide them."""

from __future__ import annotations

from textwrap import fill

from tokenswarm.report.analysis.curve import CurvePoint
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.notation import number_text, percentile_text, tpm_text
from tokenswarm.report.text.levels import WIDTH
from tokenswarm.report.text.table import Cell, Column, Table, plain

IDEAL_HIT = "ideal hit"  # a row of the workload table
COLUMNS = (
    Column("level", "#"),
    Column("target_tpm", "target TPM"),
    Column("turns", "turns"),
    Column("sessions", "sessions"),
    Column("ttft_p50_s", "TTFT p50, s", True),
    Column("ttft_p90_s", "p90, s"),
    Column("decode_tps_p50", "TPS p50", True),
    Column("achieved_tpm", "achieved TPM", True),
)


def text(found: Result) -> str:
    """The levels' figures with their 95% intervals, what they rest on, and how they lean."""
    table = Table("quick", "", COLUMNS, tuple(map(_row, found.curve.points)))
    below = [fill(said, WIDTH) for said in (sentence(found), _lean(found)) if said]
    return "\n".join(["How sure this quick look is (95% intervals):", "", plain(table), "", *below])


def sentence(found: Result) -> str:
    """For the page's head: the turns of the levels, and the widest of the intervals."""
    points = found.curve.points
    turns = ", ".join(f"{point.summary.requests:,}" for point in points)
    known = [factor for point in points if (factor := _factor(point.ttft_p50_s)) is not None]
    bounds = (
        f"at the least sure of them TTFT p50 is known to a factor of {max(known):.1f} (95%)"
        if known
        else "no bound on their TTFT p50 is known"
    )
    if known and len(known) < len(points):
        bounds += f", at {len(points) - len(known)} of them not even that"
    return (
        f"A quick look (--quick): its levels rest on {turns} turns, and {bounds}. The ladder "
        "without --quick holds each for three times as long."
    )


def _lean(found: Result) -> str:
    """To which side short levels err."""
    promised = [row.target for row in found.workload if row.quantity == IDEAL_HIT]
    shares = [s for point in found.curve.points if (s := point.summary.ideal_hit_share) is not None]
    if not promised or not shares or min(shares) >= promised[0]:
        return ""
    return (
        "Short levels lean slow, and the capacity low: developers begin in mid-session, with a "
        f"prompt that no cache holds. An endless cache would have held {min(shares):.0%} of the "
        f"prompt tokens at the coldest level, in the long run it is {promised[0]:.0%}."
    )


def _row(point: CurvePoint) -> tuple[Cell, ...]:
    level, summary = point.level, point.summary
    p90 = percentile_text(summary.ttft_s, 90)
    return (
        Cell(str(level.index), level.index),
        Cell(tpm_text(level.target_tpm), level.target_tpm),
        Cell(f"{summary.requests:,}", summary.requests),
        Cell(f"{point.sessions:,}", point.sessions),
        Cell.of(point.ttft_p50_s, number_text),
        Cell(p90, summary.ttft_s.p90),
        Cell.of(point.decode_tps_p50, number_text),
        Cell.of(point.achieved_tpm, tpm_text),
    )


def _factor(interval: Interval) -> float | None:
    """By which the truth may lie above or below the value."""
    value, low, high = interval.value, interval.low, interval.high
    return max(high / value, value / low) if value and low and high else None
