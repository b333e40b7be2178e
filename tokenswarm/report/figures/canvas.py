"""Canvas: the one look of every figure, and the strokes they share.

Matplotlib draws them; text stays text. On the page their colours follow its theme (`COLOURS`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tokenswarm.report.analysis.curve import CurvePoint
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.notation import slo_text

INK, FAINT, GRID, PAPER = "#1f2933", "#6b7785", "#e4e7eb", "#fffffe"
TTFT_COLOURS = {50: "#0b3c8c", 90: "#3d7fd9", 99: "#8cb8ee"}
SPEED, SLOW, HIT, LIMIT, GOOD = "#0f8a5f", "#6a9f3a", "#8e44ad", "#c0392b", "#1b998b"
# By the name of the page's CSS variable.
COLOURS = {
    "ink": INK,
    "faint": FAINT,
    "grid": GRID,
    "paper": PAPER,
    "p50": TTFT_COLOURS[50],
    "p90": TTFT_COLOURS[90],
    "p99": TTFT_COLOURS[99],
    "speed": SPEED,
    "slow": SLOW,
    "hit": HIT,
    "limit": LIMIT,
    "good": GOOD,
}
BAND = 0.16  # opacity of an interval
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": INK,
    "text.parse_math": False,  # a model's name may hold a dollar sign
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "tokenswarm",  # the same run gives the same file
}
HALF, WIDE = (5.2, 3.6), (12.4, 5.4)  # inches
T = TypeVar("T")
# One level of one line: where it lies, its value, and the level it belongs to.
Series = list[tuple[float, Interval, CurvePoint]]


@dataclass(frozen=True)
class Drawing(Generic[T]):
    """Of a T: a run's Result, or a Comparison. name: of the file; reading: how a stranger reads it;
    alt: what it shows, in words."""

    name: str
    title: str
    reading: str
    draw: Callable[[Figure, T], None]
    alt: Callable[[T], str]
    size_in: tuple[float, float] = HALF


def drawn(drawing: Drawing[T], found: T, size_in: tuple[float, float] | None = None) -> Figure:
    """The figure; call this and save the figure inside `look()`."""
    figure = Figure(figsize=size_in or drawing.size_in, layout="constrained")
    figure.patch.set_facecolor("none")
    drawing.draw(figure, found)
    return figure


def watermark(figure: Figure, simulated: bool, size: float = 40) -> None:
    """Says that a picture that may stand alone is simulated, where it is."""
    if simulated:
        figure.text(
            0.5, 0.5, "simulated", fontsize=size, color=INK, alpha=0.055, rotation=28,
            ha="center", va="center", weight="bold", zorder=10,
        )  # fmt: skip


def look() -> Any:
    """The context in which figures are drawn and saved."""
    return matplotlib.rc_context(STYLE)


def series(
    points: Sequence[CurvePoint],
    load: Callable[[CurvePoint], Interval],
    value: Callable[[CurvePoint], Interval],
) -> Series:
    """The levels where both are known."""
    return [
        (x, value(point), point)
        for point in points
        if (x := load(point).value) is not None and value(point).value is not None
    ]


def line(
    axes: Axes, known: Series, colour: str, label: str, *, stroke: str = "o-", band: bool = True
) -> None:
    """The values with their intervals: a band, or whiskers where the line may fold back."""
    xs = [x for x, _, _ in known]
    values = [y.value if y.value is not None else math.nan for _, y, _ in known]
    axes.plot(xs, values, stroke, color=colour, markersize=5, linewidth=1.8, label=label)
    closed = [(x, y.low, y.high) for x, y, _ in known if y.low is not None and y.high is not None]
    if band and len(closed) == len(known) > 1:
        x, low, high = np.array(sorted(closed), dtype=float).T
        axes.fill_between(x, low, high, color=colour, alpha=BAND, linewidth=0)
    else:
        for at, lowest, highest in closed:
            axes.plot([at, at], [lowest, highest], color=colour, alpha=0.45, linewidth=2)


def number(axes: Axes, known: Series, *, above: bool = False) -> None:
    """Write each level's index beside its point: a saturated curve folds back on itself."""
    for x, y, point in known:
        if y.value is not None:
            axes.annotate(
                str(point.level.index), (x, y.value), xytext=(5, 5 if above else -12),
                textcoords="offset points", fontsize=10, color=FAINT,
            )  # fmt: skip


def objective(axes: Axes, found: Result, metric: str) -> None:
    """A line at what is asked for of this metric, at any percentile."""
    for slo in found.objectives:
        if slo.metric == metric:
            axes.axhline(slo.threshold, color=LIMIT, linewidth=1.2, linestyle=(0, (6, 3)))
            axes.annotate(
                slo_text(slo), (0, slo.threshold), xycoords=("axes fraction", "data"),
                xytext=(4, 4), textcoords="offset points", color=LIMIT, fontsize=10,
            )  # fmt: skip


def seconds_axis(axes: Axes) -> None:
    """Logarithmic, with labels at 1, 2 and 5 of each decade."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=14))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    if high / low < 12:  # too few labels would be left to read a value by
        middle = math.sqrt(low * high)
        axes.set_ylim(min(low, middle / 4), max(high, middle * 4))
    axes.tick_params(which="both", length=0, pad=6)


def share_axis(axes: Axes, label: str) -> None:
    """0 to 100%."""
    axes.set(ylabel=label)
    axes.set_ylim(-0.02, 1.04)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.tick_params(which="both", length=0, pad=6)


def load_axis(axes: Axes, label: str) -> None:
    """TPM from 0 on."""
    axes.set_xlabel(label)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tpm_tick(value)))
    axes.tick_params(which="both", length=0, pad=6)


def tpm_tick(tpm: float) -> str:
    """1.5M, 500k: short, since a tick's zeros say nothing."""
    return f"{tpm / 1e6:g}M" if tpm >= 1e6 else f"{tpm / 1e3:g}k" if tpm else "0"


def legend(axes: Axes) -> None:
    """Above the axes, where no curve can run through it."""
    handles, _labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=4, columnspacing=1.2,
            borderpad=0.2,
        )  # fmt: skip


def nothing(axes: Axes, said: str) -> None:
    """Why the axes are empty."""
    axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", color=FAINT, wrap=True)
