"""Picture: what a profile's turns look like, four panels, realised against target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

from workload.figures import Row, Sample
from workload.lengths import Floats, Tokens
from workload.profile import Profile

REALISED = "#4c78a8"
REALISED_2 = "#72b7b2"
TARGET = "#d1495b"
INK = "#333333"
SHORTEST_GAP_SHOWN_S = 1e-3


def draw(profile: Profile, sample: Sample, rows: list[Row], path: Path, title: str) -> None:
    """Writes the picture; its format is the path's suffix. Raises OSError, ValueError."""
    figure = Figure(figsize=(12, 8), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    targets = {row.quantity: row for row in rows}
    _prompts(axes[0, 0], sample.prompt_tokens, targets)
    _outputs(axes[0, 1], profile, sample.output_tokens, targets)
    if sample.new_tokens is not None and len(sample.new_tokens):
        _growth(axes[1, 0], profile, sample.new_tokens, targets)
    _gaps(axes[1, 1], profile, sample)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=INK, labelsize=9)
        axis.title.set(fontsize=11, fontweight="bold", color=INK)
    figure.suptitle(title, fontsize=12, color=INK)
    figure.savefig(path, dpi=130)


def _prompts(axis: Axes, prompt_tokens: Tokens, targets: dict[str, Row]) -> None:
    axis.hist(prompt_tokens, bins=80, color=REALISED, alpha=0.75, label="realised")
    height = axis.get_ylim()[1] * 1.4  # room for the labels above the bars
    for level, figure in enumerate(("p10", "p50", "mean", "p90", "p99")):
        target = targets[f"prompt {figure}"].target
        top = height * (1.0 - 0.065 * level)
        axis.plot([target, target], [0, top], color=TARGET, lw=1.2, ls="--")
        axis.text(target, top, f" {figure} {_short(target)}", color=TARGET, fontsize=9, va="top")
    axis.plot([], [], color=TARGET, lw=1.2, ls="--", label="target")
    axis.set_ylim(0, height)
    axis.set_title("Prompt length")
    axis.set_xlabel("prompt tokens")
    axis.set_ylabel("turns")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))
    axis.legend(frameon=False, loc="upper right", fontsize=9)


def _outputs(axis: Axes, profile: Profile, output_tokens: Tokens, targets: dict[str, Row]) -> None:
    law = profile.output_tokens
    _cumulative(axis, output_tokens, REALISED, "realised", law.cdf)
    for figure, side in (("p50", 1), ("mean", 1), ("p99", -1)):
        target = targets[f"output {figure}"].target
        share = law.cdf(target)
        axis.plot(target, share, "o", color=TARGET, ms=7, mec="white", zorder=5)
        axis.annotate(
            f"{figure} {_short(target)}",
            (target, share),
            xytext=(10, -4 if side > 0 else -14),
            textcoords="offset points",
            color=TARGET,
            fontsize=9,
        )
    axis.plot([], [], color=TARGET, lw=1.2, label="law; points: targets")
    axis.set_title("Output length, cumulative")
    _log_axis(axis, "output tokens")
    axis.set_ylabel("share of turns")
    axis.legend(frameon=False, loc="upper left", fontsize=9)


def _growth(axis: Axes, profile: Profile, new_tokens: Tokens, targets: dict[str, Row]) -> None:
    law = profile.growth_tokens
    low, high = max(1.0, float(np.percentile(new_tokens, 0.1))), float(new_tokens.max())
    edges = np.geomspace(low, high * 1.01, 60)
    shares = np.histogram(new_tokens, edges)[0] / len(new_tokens)
    axis.stairs(shares, edges, fill=True, color=REALISED, alpha=0.75, label="realised")
    drawn = np.diff([law.cdf(edge) for edge in edges])
    axis.stairs(drawn, edges, color=TARGET, lw=1.3, label="law, before sessions end")
    height = max(shares.max(), drawn.max()) * 1.3
    for level, figure in enumerate(("p50", "mean", "p90")):
        target = targets[f"new tokens {figure}"].target
        top = height * (1.0 - 0.075 * level)
        axis.plot([target, target], [0, top], color=INK, lw=1, ls=":")
        axis.text(target, top, f" {figure} {_short(target)}", color=INK, fontsize=9, va="top")
    axis.set_ylim(0, height)
    axis.set_title("New tokens per turn")
    _log_axis(axis, "tokens not in the previous prompt or reply")
    axis.set_ylabel("share of turns")
    axis.legend(frameon=False, loc="upper left", fontsize=9)


def _gaps(axis: Axes, profile: Profile, sample: Sample) -> None:
    for kind, law, color in (
        ("tool", profile.tool_gap_s, REALISED),
        ("user", profile.human_gap_s, REALISED_2),
    ):
        gaps_s = sample.gaps_before(kind)
        if gaps_s is not None and len(gaps_s):
            name = "human" if kind == "user" else kind
            _cumulative(axis, gaps_s, color, f"{name}, realised", law.cdf)
    axis.plot([], [], color=TARGET, lw=1.2, label="law")
    axis.set_title("Pause before a turn, cumulative")
    _log_axis(axis, "seconds")
    axis.set_xlim(left=max(axis.get_xlim()[0], SHORTEST_GAP_SHOWN_S))
    axis.set_ylabel("share of pauses")
    axis.legend(frameon=False, loc="upper left", fontsize=9)


def _cumulative(
    axis: Axes, numbers: Tokens | Floats, color: str, label: str, law: Callable[[float], float]
) -> None:
    """The realised cumulative share, thick, and the law's, thin."""
    shares = np.linspace(0.0005, 0.9995, 500)
    x = np.quantile(numbers, shares)
    axis.plot(x, shares, color=color, lw=4, alpha=0.6, label=label, solid_capstyle="round")
    grid = np.geomspace(max(x[0], 1e-4), x[-1], 300)
    axis.plot(grid, [law(g) for g in grid], color=TARGET, lw=1.2)
    axis.set_ylim(0, 1.02)
    axis.grid(axis="y", color="#dddddd", lw=0.6)


def _log_axis(axis: Axes, label: str) -> None:
    axis.set_xscale("log")
    axis.set_xlabel(label)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))


def _short(number: float) -> str:
    """1500 as 1.5k; three significant digits."""
    return f"{number / 1000:.3g}k" if number >= 1000 else f"{number:.3g}"
