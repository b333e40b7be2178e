"""Timeline: the run turn by turn, with its levels, and the traffic below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tokenswarm.measure.record import TurnRecord
from tokenswarm.measure.tally import SECONDS_PER_MINUTE
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.figures.canvas import (
    FAINT,
    GRID,
    INK,
    LIMIT,
    TTFT_COLOURS,
    WIDE,
    Drawing,
    legend,
    nothing,
    objective,
    seconds_axis,
    tpm_tick,
)
from tokenswarm.report.notation import asked_text, second_name

MOST_DOTS = 2_000  # more would hide each other, and swell the page
BINS = 80  # of the lines of TPM
SEED = 1  # of the choice of dots
MOST_LABELS = 8  # of levels; more would run into each other
NAMES_SHARE = 0.08  # of the height, above all dots, for the levels' names
NARROW = (5.2, 6.0)  # inches: for a phone


def draw(figure: Figure, found: Result) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
    _levels(above, below, found)
    _turns(above, found)
    _traffic(below, found)
    below.set_xlabel(f"minutes of the run (60 {second_name(found.ledger.header)} each)")


def sampled(records: Sequence[TurnRecord]) -> list[TurnRecord]:
    """At most MOST_DOTS of them, drawn evenly; the same every time."""
    if len(records) <= MOST_DOTS:
        return list(records)
    chosen = np.random.default_rng(SEED).choice(len(records), MOST_DOTS, replace=False)
    return [records[n] for n in np.sort(chosen)]


def _turns(axes: Axes, found: Result) -> None:
    chosen = sampled(found.ledger.records)
    shown = [(r.scheduled_at_s, r.ttft_s) for r in chosen if r.ttft_s and not r.failed]
    cut = [
        (r.scheduled_at_s, r.ended_at_s - r.sent_at_s)
        for r in chosen
        if r.outcome == "unfinished" and r.ttft_s is None and r.sent_at_s is not None
    ]
    failed = [(r.scheduled_at_s, 0.02) for r in chosen if r.failed]
    _dots(axes, shown, ".", TTFT_COLOURS[90], "turn")
    _dots(axes, cut, "^", FAINT, "cut off, so far")
    if failed:
        low = [(at_s / 60, height) for at_s, height in failed]
        axes.plot(
            *zip(*low, strict=True), "x", color=LIMIT, markersize=5, label="failed",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    objective(axes, found, "ttft")
    axes.set(ylabel=f"TTFT, {second_name(found.ledger.header)} (log)")
    seconds_axis(axes)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top * (top / bottom) ** NAMES_SHARE)
    legend(axes)
    if not shown and not cut:
        nothing(axes, "no turn showed a first token")


def _dots(
    axes: Axes, dots: Sequence[tuple[float, float]], mark: str, colour: str, label: str
) -> None:
    if dots:
        at_s, heights = np.array(dots, dtype=float).T
        size = 5 if mark == "." else 4
        axes.plot(at_s / 60, heights, mark, color=colour, alpha=0.55, markersize=size, label=label)


def _traffic(axes: Axes, found: Result) -> None:
    columns = found.columns
    edges = np.linspace(0, _end_s(found), BINS + 1)
    per_bin = SECONDS_PER_MINUTE / (edges[1] - edges[0])
    everything = np.ones(len(columns.answered), dtype=bool)
    for at_s, of, colour, label in (
        (columns.scheduled_at_s, everything, FAINT, "offered"),
        (columns.ended_at_s, columns.answered, INK, "achieved"),
    ):
        tokens, _ = np.histogram(at_s[of], edges, weights=columns.prompt_tokens[of])
        axes.stairs(tokens * per_bin, edges / 60, color=colour, linewidth=1.6, label=label)
    _asked(axes, found)
    axes.set(ylabel="input TPM")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tpm_tick(value)))
    axes.tick_params(which="both", length=0, pad=6)
    legend(axes)


def _asked(axes: Axes, found: Result) -> None:
    """The target line of open mode."""
    label = "target"
    for step in found.steps:
        if step.level.target_tpm is not None:
            axes.plot(
                [step.level.started_at_s / 60, step.window[1] / 60],
                [step.level.target_tpm] * 2,
                color=LIMIT, linewidth=1.2, linestyle=(0, (4, 3)), label=label,
            )  # fmt: skip
            label = "_"  # once is enough


def _levels(above: Axes, below: Axes, found: Result) -> None:
    """Where each level begins, its warm-up in grey, and what it asked for."""
    for step in found.steps:
        start_s = step.level.started_at_s
        for axes in (above, below):
            axes.axvspan(start_s / 60, step.window[0] / 60, color=FAINT, alpha=0.16, linewidth=0)
            axes.axvline(start_s / 60, color=GRID, linewidth=1)
        if len(found.steps) <= MOST_LABELS:
            above.annotate(
                asked_text(step.level), ((start_s + step.window[1]) / 120, 0.985),
                xycoords=("data", "axes fraction"), ha="center", va="top", color=FAINT, fontsize=10,
            )  # fmt: skip
    above.set_xlim(0, _end_s(found) / 60)


def _end_s(found: Result) -> float:
    """Of the last turn or the last level, whichever is later."""
    return max(1e-6, found.whole.window[1], *(step.window[1] for step in found.steps))


def _alt(found: Result) -> str:
    turns = len(found.ledger.records)
    return (
        f"Time to first token of {min(turns, MOST_DOTS):,} of {turns:,} turns over the run, with "
        f"its {len(found.steps)} levels, above the input TPM that was offered and achieved."
    )


TIMELINE = Drawing(
    "timeline",
    "The run, turn by turn",
    "Each dot is a turn, at the time it came due. Triangles: turns cut off by the end of the run, "
    "at what they had waited so far. Grey: a level's warm-up, left out of its figures.",
    draw,
    _alt,
    WIDE,
)
