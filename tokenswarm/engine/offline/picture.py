"""Pictures of simulated results: each is marked so, with presets, profile and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tokenswarm.engine.offline import tables
from tokenswarm.engine.offline.estimate import Estimate
from tokenswarm.engine.offline.study import PUBLISHED, TPM
from tokenswarm.engine.offline.sweep import Point

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
COLOURS = ("#0b3c8c", "#d1495b", "#0f8a5f", "#8e44ad", "#c77d0a", "#5b6770")
MARKERS = "osD^vP"
BASE = "#5b6770"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "tokenswarm",  # the same run gives the same file
}


def draw_curve(points: Sequence[Point], path: Path) -> None:
    """TTFT, TPS, achieved TPM and hit share against what was asked. Raises OSError."""
    with matplotlib.rc_context(_STYLE):
        figure = _figure((11.5, 8.0), "The engine under rising load", points)
        axes = figure.subplots(2, 2)
        series = [list(run) for _, run in groupby(points, key=lambda p: p.case.label)]
        developers = points[0].case.load.developers is not None
        ttft, speed, throughput, hits = axes.flat
        for run, colour, marker in zip(series, COLOURS * 9, MARKERS * 9, strict=False):
            label = run[0].case.label
            _band(ttft, run, "ttft_p50_s", colour, marker, label)
            _band(speed, run, "tps_p50", colour, marker, label)
            _band(throughput, run, "achieved_tpm", colour, marker, label, 1e6)
            _band(hits, run, "hit_share", colour, marker, label, 0.01)
        _mark_published(ttft, [run[0] for run in series], developers)
        ttft.set(title="Time to first token, p50", ylabel="seconds (log)", yscale="log")
        _log_numbers(ttft)
        speed.set(title="Decode speed per user, p50", ylabel="tokens per second (log)")
        speed.set_yscale("log")
        _log_numbers(speed)
        throughput.set(title="Achieved TPM", ylabel="millions")
        hits.set(title="Prefix-cache hit share", ylabel="% of prompt tokens")
        hits.set_ylim(0, 101)
        if not developers:
            _keeps_up(throughput, points)
        for axis in axes.flat:
            axis.set_xlabel("developers" if developers else "offered input TPM, millions")
            axis.set_xlim(left=0)
            axis.tick_params(which="both", length=0, pad=5)
        throughput.set_ylim(bottom=0)
        handles, labels = speed.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        figure.savefig(path, dpi=130)


def draw_what_ifs(base: Point, changes: Sequence[Point], path: Path) -> None:
    """What each change does to TTFT and TPS, as ratios to the baseline. Raises OSError."""
    with matplotlib.rc_context(_STYLE):
        height = 2.2 + 0.42 * len(changes)
        title = f"What if: {base.case.preset.engine_name} changed one way at a time"
        figure = _figure((11.5, height), title, [base])
        left, right = figure.subplots(1, 2, sharey=True)
        for axis, name, what in (
            (left, "ttft_p50_s", "p50 TTFT, ratio to the baseline (log)"),
            (right, "tps_p50", "TPS per user, ratio to the baseline (log)"),
        ):
            ratios = [point.ratio(base, name) for point in changes]
            for row, ratio in enumerate(ratios):
                if ratio is not None:
                    _whisker(axis, row, ratio, better_low=name == "ttft_p50_s")
            axis.axvline(1, color=BASE, linewidth=1)
            axis.set(title=what, xscale="log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.tick_params(which="both", length=0, pad=5)
            axis.margins(x=0.12)
        left.set_yticks(range(len(changes)), [point.case.label for point in changes])
        left.set_ylim(len(changes) - 0.5, -0.5)
        figure.savefig(path, dpi=130)


def _figure(size: tuple[float, float], title: str, points: Sequence[Point]) -> Figure:
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    heading = tables.heading(points)
    figure.suptitle(f"{title}\n\n", x=0.012, ha="left", fontsize=14, weight="bold")
    figure.text(0.012, 1 - 0.42 / size[1], heading, fontsize=8.5, color=FAINT, va="top")
    figure.text(
        *(0.5, 0.5, "simulated"),
        fontsize=72, color=INK, alpha=0.05, rotation=20, ha="center", va="center", zorder=10,
        weight="bold",
    )  # fmt: skip
    return figure


def _band(
    axis: Axes,
    run: Sequence[Point],
    name: str,
    colour: str,
    marker: str,
    label: str,
    unit: float = 1.0,
) -> None:
    """Medians as a line; the interval over seeds as a band, which ends where either was cut off.
    Hollow: most seeds did not keep up."""
    estimates = [(_x(point), point, point.estimate(name)) for point in run]
    known = [(x, point, e) for x, point, e in estimates if e is not None and isfinite(e.value)]
    if not known:
        return
    x = [at for at, _, _ in known]
    y = [e.value / unit for _, _, e in known]
    axis.plot(x, y, color=colour, linewidth=1.8, label=label, marker=marker, markersize=5)
    hollow = [(at, e.value / unit) for at, point, e in known if not point.completes]
    axis.plot(
        [at for at, _ in hollow], [value for _, value in hollow], marker, color=colour,
        markerfacecolor="white", markersize=5, zorder=3,
    )  # fmt: skip
    low = [(e.value if e.low is None else e.low) / unit for _, _, e in known]
    high = [(e.value if e.high is None else e.high) / unit for _, _, e in known]
    whole = [isfinite(value) for value in high]
    axis.fill_between(x, low, high, where=whole, color=colour, alpha=0.15, linewidth=0)


def _x(point: Point) -> float:
    load = point.case.load
    return load.levels_tpm[-1] / 1e6 if load.developers is None else load.developers


def _mark_published(axis: Axes, firsts: Sequence[Point], developers: bool) -> None:
    """The study's figures, as crosses at their rate."""
    shown = {p.case.label: p.case.preset.name for p in firsts if p.case.preset.name in PUBLISHED}
    if developers or not shown:
        return
    for (label, name), colour in zip(shown.items(), COLOURS * 9, strict=False):
        if label == name:
            axis.plot(TPM / 1e6, PUBLISHED[name].ttft_p50_s or 0, "x", color=colour, markersize=9)
    axis.plot([], [], "x", color=INK, label="published by the study", linestyle="none")
    axis.legend(loc="upper left")


def _keeps_up(axis: Axes, points: Sequence[Point]) -> None:
    top = max(_x(point) for point in points)
    axis.plot([0, top], [0, top], color=FAINT, linewidth=1, linestyle=":", zorder=1)


def _whisker(axis: Axes, row: int, ratio: Estimate, better_low: bool) -> None:
    if not isfinite(ratio.value):  # cut off: the table says so
        return
    better = (ratio.value < 1) == better_low
    colour = COLOURS[2] if better else COLOURS[1]
    if ratio.low is not None and ratio.high is not None and isfinite(ratio.high):
        axis.plot([ratio.low, ratio.high], [row, row], color=colour, linewidth=3, alpha=0.4)
    axis.plot(ratio.value, row, "o", color=colour, markersize=6)
    axis.annotate(
        f"{ratio.value:.3g}", (ratio.value, row), xytext=(0, 6), textcoords="offset points",
        ha="center", fontsize=8, color=INK,
    )  # fmt: skip


def _log_numbers(axis: Axes) -> None:
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
