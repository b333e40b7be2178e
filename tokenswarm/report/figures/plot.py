"""Plot: what happens to TTFT and decode speed as traffic rises, in one picture (PNG or SVG)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokenswarm.measure.window import WARM_UP_SHARE
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.figures.canvas import FAINT, look, watermark
from tokenswarm.report.figures.curves import achieved, hits, speed, throughput, ttft
from tokenswarm.report.notation import target_text

FORMATS = (".png", ".svg")
NOTE = (
    f"Numbers are traffic levels; the first {WARM_UP_SHARE:.0%} of each is left out. Bands and "
    "whiskers: 95% intervals. Hollow: too few turns to claim this percentile."
)


def plot(path: Path, found: Result) -> None:
    """Write the picture. Raises ValueError for an extension other than .png and .svg."""
    check_format(path)
    with look():
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        _figure(found).savefig(path, dpi=150, metadata=metadata)


def check_format(path: Path) -> None:
    """Raises ValueError for an extension other than .png and .svg."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"plot {path}: the file name must end in {' or '.join(FORMATS)}")


def _figure(found: Result) -> Figure:
    figure = Figure(figsize=(12.5, 9), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, rect=(0, 0.03, 1, 0.87))  # type: ignore[call-arg, union-attr]
    grid = figure.add_gridspec(2, 12, height_ratios=(1.45, 1))
    panels: tuple[tuple[Any, str, Callable[[Axes], None]], ...] = (
        (grid[0, :7], "Time to first token", lambda axes: ttft(axes, found, achieved)),
        (grid[0, 7:], "Decode speed per user", lambda axes: speed(axes, found)),
        (grid[1, :7], "Achieved against offered", lambda axes: throughput(axes, found)),
        (grid[1, 7:], "Prefix-cache hit share", lambda axes: hits(axes, found)),
    )
    for place, title, draw in panels:
        axes = figure.add_subplot(place)
        draw(axes)
        axes.set_title(title, pad=26)
    _titles(figure, found)
    return figure


def _titles(figure: Figure, found: Result) -> None:
    header = found.ledger.header
    mark = header.fingerprint
    workload = f"run {header.run}, profile {mark.profile}, seed {mark.seed}, {mark.mode} mode"
    figure.text(0.012, 0.965, "TTFT and decode speed as traffic rises", fontsize=15, weight="bold")
    figure.text(0.012, 0.928, f"{target_text(header)}; {workload}", fontsize=9.5, color=FAINT)
    figure.text(0.012, 0.014, NOTE, fontsize=8.5, color=FAINT)
    watermark(figure, header.target.simulated, size=96)
