"""Overlay: the curves of several runs in one picture (PNG or SVG)."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tokenswarm.report.analysis.compare import Comparison
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.figures.canvas import FAINT, INK, STYLE
from tokenswarm.report.figures.plot import check_format
from tokenswarm.report.notation import second_name, tpm_text

# Told apart without colour vision (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")


def overlay(path: Path, found: Comparison) -> None:
    """TTFT p50 and decode speed by achieved TPM. Raises ValueError for another extension."""
    check_format(path)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 4.8), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, rect=(0, 0.03, 1, 0.83))  # type: ignore[call-arg, union-attr]
        left, right = figure.subplots(1, 2)
        _draw_ttft(left, found)
        _draw_speed(right, found)
        _draw_titles(figure, found)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(path, dpi=150, metadata=metadata)


def _draw_ttft(axes: Axes, found: Comparison) -> None:
    for run in range(len(found.runs)):
        _line(axes, found, run, [rung.points[run].ttft_p50_s for rung in found.rungs])
    unit = second_name(found.runs[0].header)
    axes.set(title="Time to first token, p50", ylabel=f"{unit} (log)", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="upper left")


def _draw_speed(axes: Axes, found: Comparison) -> None:
    for run in range(len(found.runs)):
        _line(axes, found, run, [rung.points[run].decode_tps_p50 for rung in found.rungs])
    axes.set(title="Decode speed per user, p50", ylabel="tokens per second")
    axes.set_ylim(bottom=0)


def _line(axes: Axes, found: Comparison, run: int, values: list[Interval]) -> None:
    """A line with its interval as a bar at each level."""
    colour = COLOURS[run % len(COLOURS)]
    loads = [rung.points[run].summary.achieved_tpm for rung in found.rungs]
    known = [
        (load / 1e6, value.value, value)
        for load, value in zip(loads, values, strict=True)
        if load is not None and value.value is not None
    ]
    axes.plot(
        [load for load, _, _ in known],
        [height for _, height, _ in known],
        color=colour,
        marker=MARKERS[run % len(MARKERS)],
        markersize=5,
        linewidth=1.8,
        label=found.names[run],
    )
    for load, _, value in known:
        if value.low is not None and value.high is not None:
            axes.plot([load, load], [value.low, value.high], color=colour, linewidth=1, alpha=0.6)
    axes.set_xlabel("achieved input TPM, millions")
    axes.set_xlim(left=0)
    axes.tick_params(which="both", length=0, pad=6)


def _draw_titles(figure: Figure, found: Comparison) -> None:
    mark, rounds = found.runs[0].header.fingerprint, len(found.runs[0].rounds)
    seeds = f"seed {mark.seed}" + (f" in the first of {rounds} rounds" if rounds > 1 else "")
    levels = ", ".join(tpm_text(rung.asked) for rung in found.rungs)
    figure.text(0.012, 0.94, "Engines side by side", fontsize=15, weight="bold")
    figure.text(
        0.012,
        0.885,
        f"profile {mark.profile}, {seeds}, {mark.mode} mode; levels {levels}; bars: 95% intervals",
        fontsize=9.5,
        color=FAINT,
    )
    simulated = [
        name
        for name, run in zip(found.names, found.runs, strict=True)
        if run.header.target.simulated
    ]
    if simulated:
        figure.text(
            0.5, 0.4, "simulated", fontsize=80, color=INK, alpha=0.055, rotation=18,
            ha="center", va="center", weight="bold", zorder=10,
        )  # fmt: skip
        figure.text(0.012, 0.014, f"Simulated: {', '.join(simulated)}", fontsize=8.5, color=FAINT)
