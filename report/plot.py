"""Plot: what happens to TTFT and decode speed as traffic rises, in one picture (PNG or SVG)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from measure.ledger import Header
from measure.quantiles import claimable
from measure.tally import Summary
from report.notation import target_text
from report.steps import WARM_UP_SHARE, Step

FORMATS = (".png", ".svg")
SLO_TTFT_S = 1.0
INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
TTFT_COLOURS = {50: "#0b3c8c", 90: "#3d7fd9", 99: "#9cc4f2"}
SPEED, HIT, LIMIT = "#0f8a5f", "#8e44ad", "#c0392b"
STYLE: dict[Any, Any] = {
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
    "grid.color": GRID,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "tokenswarm",  # the same run gives the same file
}
NOTE = (
    f"Numbers are traffic levels; the first {WARM_UP_SHARE:.0%} of each is left out. "
    "Hollow: too few turns to claim this percentile."
)
Value = Callable[[Summary], float | None]


def plot(path: Path, header: Header, steps: Sequence[Step]) -> None:
    """Write the picture. Raises ValueError for an extension other than .png and .svg."""
    check_format(path)
    with matplotlib.rc_context(STYLE):
        figure = _figure(header, steps)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(path, dpi=150, metadata=metadata)


def check_format(path: Path) -> None:
    """Raises ValueError for an extension other than .png and .svg."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"plot {path}: the file name must end in {' or '.join(FORMATS)}")


def _figure(header: Header, steps: Sequence[Step]) -> Figure:
    figure = Figure(figsize=(11.5, 8.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, rect=(0, 0.03, 1, 0.87))  # type: ignore[call-arg, union-attr]
    grid = figure.add_gridspec(2, 12, height_ratios=(1.45, 1))
    _draw_ttft(figure.add_subplot(grid[0, :7]), steps)
    _draw_speed(figure.add_subplot(grid[0, 7:]), steps)
    _draw_throughput(figure.add_subplot(grid[1, :7]), steps)
    _draw_hits(figure.add_subplot(grid[1, 7:]), steps)
    _draw_titles(figure, header)
    return figure


def _draw_titles(figure: Figure, header: Header) -> None:
    mark = header.fingerprint
    workload = f"run {header.run}, profile {mark.profile}, seed {mark.seed}, {mark.mode} mode"
    figure.text(0.012, 0.965, "TTFT and decode speed as traffic rises", fontsize=15, weight="bold")
    figure.text(0.012, 0.928, f"{target_text(header)}; {workload}", fontsize=9.5, color=FAINT)
    figure.text(0.012, 0.014, NOTE, fontsize=8.5, color=FAINT)
    if header.target.simulated:
        figure.text(
            0.5, 0.47, "simulated", fontsize=96, color=INK, alpha=0.055, rotation=28,
            ha="center", va="center", weight="bold", zorder=10,
        )  # fmt: skip


def _draw_ttft(axes: Axes, steps: Sequence[Step]) -> None:
    """Percentiles against achieved TPM; a hollow mark shows where the load was offered."""
    for percent, colour in TTFT_COLOURS.items():
        _line(axes, steps, lambda s, p=percent: s.ttft_s.at(p), colour, f"p{percent}")  # type: ignore[misc]
        _hollow_where_too_few(axes, steps, percent, colour)
    _draw_offered(axes, steps)
    _number(axes, steps, lambda s: s.achieved_tpm, lambda s: s.ttft_s.p50)
    axes.axhline(SLO_TTFT_S, color=LIMIT, linewidth=1.2, linestyle=(0, (6, 3)))
    axes.annotate(
        "1 s", (1, SLO_TTFT_S), xycoords=("axes fraction", "data"), xytext=(-2, 4),
        textcoords="offset points", color=LIMIT, fontsize=9, ha="right",
    )  # fmt: skip
    axes.set(title="Time to first token", ylabel="TTFT, seconds (log)", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    _finish(axes, "achieved input TPM, millions", legend=True)


def _draw_speed(axes: Axes, steps: Sequence[Step]) -> None:
    _line(axes, steps, lambda s: s.decode_tps.p50, SPEED, "p50")
    _number(axes, steps, lambda s: s.achieved_tpm, lambda s: s.decode_tps.p50)
    axes.set(title="Decode speed per user", ylabel="tokens per second, p50")
    axes.set_ylim(bottom=0)
    _finish(axes, "achieved input TPM, millions")


def _draw_throughput(axes: Axes, steps: Sequence[Step]) -> None:
    points = _points(steps, lambda s: s.offered_tpm, lambda s: s.achieved_tpm)
    offered, achieved = [x / 1e6 for x, _ in points], [y / 1e6 for _, y in points]
    top = max([*offered, *achieved, 1e-6]) * 1.06  # 1 TPM: an empty run has axes too
    axes.plot([0, top], [0, top], color=FAINT, linewidth=1, linestyle=":", label="keeps up")
    _number(axes, steps, lambda s: s.offered_tpm, lambda s: s.achieved_tpm, 1e6)
    axes.plot(offered, achieved, color=INK, marker="o", markersize=5, label="achieved")
    axes.set(title="Achieved against offered", ylabel="achieved TPM, millions")
    axes.set_ylim(bottom=0, top=top)
    _finish(axes, "offered input TPM, millions", legend=True)


def _draw_hits(axes: Axes, steps: Sequence[Step]) -> None:
    for share, colour, label, line in (
        (lambda s: s.ideal_hit_share, FAINT, "ideal", ":"),
        (lambda s: s.hit_share, HIT, "reported", "o-"),
    ):
        points = _points(steps, lambda s: s.offered_tpm, share)
        offered, shares = [x / 1e6 for x, _ in points], [y for _, y in points]
        axes.plot(offered, shares, line, color=colour, markersize=5, linewidth=1.8, label=label)
    axes.set(title="Prefix-cache hit share", ylabel="of prompt tokens")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _finish(axes, "offered input TPM, millions", legend=True)


def _draw_offered(axes: Axes, steps: Sequence[Step]) -> None:
    for step in steps:
        s = step.summary
        if s.offered_tpm is None or s.achieved_tpm is None or s.ttft_s.p50 is None:
            continue
        ends, height = [s.achieved_tpm / 1e6, s.offered_tpm / 1e6], [s.ttft_s.p50] * 2
        axes.plot(ends, height, color=FAINT, linewidth=1, linestyle=":", zorder=1)
        axes.plot(ends[1], height[1], marker="|", color=FAINT, markersize=9, zorder=1)
    axes.plot(
        [], [], color=FAINT, linestyle=":", marker="|", markersize=9, label="offered (at p50)"
    )


def _hollow_where_too_few(axes: Axes, steps: Sequence[Step], percent: int, colour: str) -> None:
    few = [step for step in steps if not claimable(percent / 100, step.summary.ttft_s.count)]
    points = _points(few, lambda s: s.achieved_tpm, lambda s: s.ttft_s.at(percent))
    for x, y in points:
        axes.plot(x / 1e6, y, "o", markersize=5, color=colour, markerfacecolor="white", zorder=3)


def _line(
    axes: Axes, steps: Sequence[Step], value: Value, colour: str, label: str, **style: Any
) -> None:
    points = _points(steps, lambda s: s.achieved_tpm, value)
    shape: dict[str, Any] = {"marker": "o", "markersize": 5, "linewidth": 1.8} | style
    axes.plot(
        [x / 1e6 for x, _ in points], [y for _, y in points], color=colour, label=label, **shape
    )


def _number(axes: Axes, steps: Sequence[Step], x: Value, y: Value, unit: float = 1.0) -> None:
    """Write each level's index beside its point: a saturated curve folds back on itself."""
    for step in steps:
        at_x, at_y = x(step.summary), y(step.summary)
        if at_x is not None and at_y is not None:
            axes.annotate(
                str(step.level.index), (at_x / 1e6, at_y / unit), xytext=(5, -11),
                textcoords="offset points", fontsize=8, color=FAINT,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85},
            )  # fmt: skip


def _points(steps: Sequence[Step], x: Value, y: Value) -> list[tuple[float, float]]:
    """The levels in order, where both values are known."""
    pairs = ((x(step.summary), y(step.summary)) for step in steps)
    return [(a, b) for a, b in pairs if a is not None and b is not None]


def _finish(axes: Axes, xlabel: str, legend: bool = False) -> None:
    axes.set_xlabel(xlabel)
    axes.set_xlim(left=0)
    axes.tick_params(which="both", length=0, pad=6)
    if legend:  # above the axes, where no curve can run through it
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.985), ncols=4, columnspacing=1.2)
