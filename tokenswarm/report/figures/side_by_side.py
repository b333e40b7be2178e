"""Side by side: the curves of several runs in one picture each, and all of them in one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tokenswarm.report.analysis.compare import Comparison
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.point import CurvePoint
from tokenswarm.report.figures.canvas import (
    FAINT,
    LIMIT,
    PAPER,
    Drawing,
    load_axis,
    look,
    nothing,
    seconds_axis,
    share_axis,
    tpm_tick,
    watermark,
)
from tokenswarm.report.figures.plot import check_format
from tokenswarm.report.notation import number_text, second_name, share_text, slo_text, tpm_text

# Told apart without colour vision (Okabe and Ito 2008); by the name of the page's CSS variable.
RUN_COLOURS = {
    "run-1": "#0072b2",
    "run-2": "#d55e00",
    "run-3": "#009e73",
    "run-4": "#cc79a7",
    "run-5": "#e69f00",
    "run-6": "#56b4e9",
}
COLOURS = tuple(RUN_COLOURS.values())
MARKERS = ("o", "s", "^", "D", "v", "P")
APART = 0.012  # of the axis: whiskers of several runs at one load would hide each other
HEADROOM = 1.35  # of the largest value, beyond which an interval is cut and has an arrow
LEGEND_CHARACTERS = 62  # that stand beside each other in a small picture (by eye)
Figures = Callable[[CurvePoint], Interval]


def overlay(path: Path, found: Comparison) -> None:
    """All pictures in one file. Raises ValueError for an extension other than .png and .svg."""
    check_format(path)
    with look():
        figure = Figure(figsize=(16.5, 9.6), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, rect=(0, 0.03, 1, 0.88))  # type: ignore[call-arg, union-attr]
        axes = figure.subplots(2, 3).ravel()
        for drawing, draw, place in zip(SIDE_BY_SIDE, DRAWS, axes, strict=True):
            draw(place, found)
            place.set_title(drawing.title, pad=10)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper right", ncols=3)
        _titles(figure, found)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(path, dpi=150, metadata=metadata, facecolor="white")


def _titles(figure: Figure, found: Comparison) -> None:
    mark, rounds = found.runs[0].header.fingerprint, len(found.runs[0].rounds)
    seeds = f"seed {mark.seed}" + (f" in the first of {rounds} rounds" if rounds > 1 else "")
    figure.text(0.012, 0.965, "Side by side as traffic rises", fontsize=15, weight="bold")
    figure.text(
        0.012, 0.928,
        f"{', '.join(found.names)}; profile {mark.profile}, {seeds}, {mark.mode} mode",
        fontsize=9.5, color=FAINT,
    )  # fmt: skip
    simulated = [
        name
        for name, run in zip(found.names, found.runs, strict=True)
        if run.header.target.simulated
    ]
    note = "Bars: 95% intervals; an arrow: it goes on beyond the picture. "
    if simulated:
        note += f"Simulated: {', '.join(simulated)}. "
        watermark(figure, True, size=96)
    if invalid := invalid_names(found):
        note += f"INVALID, not to be used: {', '.join(invalid)}."
    figure.text(0.012, 0.014, note, fontsize=8.5, color=FAINT)


def invalid_names(found: Comparison) -> list[str]:
    return [name for name, run in zip(found.names, found.runs, strict=True) if run.invalid]


def label(found: Comparison, run: int) -> str:
    """As the legend has it: an INVALID run is marked."""
    return found.names[run] + (" (INVALID)" if found.runs[run].invalid else "")


def ttft_p50(axes: Axes, found: Comparison) -> None:
    _ttft(axes, found, 50, lambda p: p.ttft_p50_s)


def ttft_p90(axes: Axes, found: Comparison) -> None:
    _ttft(axes, found, 90, lambda p: p.ttft_p90_s)


def _ttft(axes: Axes, found: Comparison, percent: int, value: Figures) -> None:
    axes.set(ylabel=f"TTFT p{percent}, {second_name(found.runs[0].header)} (log)", yscale="log")
    _lines(axes, found, value)
    _objective(axes, found, "ttft", percent)
    seconds_axis(axes)


def speed(axes: Axes, found: Comparison) -> None:
    axes.set(ylabel="tokens per second and user, p50")
    _lines(axes, found, lambda p: p.decode_tps_p50)
    _objective(axes, found, "tps", 50)
    axes.tick_params(which="both", length=0, pad=6)


def achieved(axes: Axes, found: Comparison) -> None:
    axes.set(ylabel="achieved input TPM")
    _lines(axes, found, lambda p: p.achieved_tpm)
    if found.mode == "tpm":
        top = max(rung.asked for rung in found.rungs)
        axes.plot([0, top], [0, top], color=FAINT, linewidth=1, linestyle=":")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda tpm, _: tpm_tick(tpm)))
    axes.tick_params(which="both", length=0, pad=6)


def hits(axes: Axes, found: Comparison) -> None:
    _lines(axes, found, lambda p: p.hit_share)
    share_axis(axes, "cached, of prompt tokens")


def pareto(axes: Axes, found: Comparison) -> None:
    """What a developer feels against what a GPU carries. Up and to the right is better; filled: no
    level of any usable run is better in both."""
    best = front(found)
    trades = [_trade(found, run) for run in range(len(found.runs))]
    tops: dict[float, float] = {}  # of each load: the others' names stand below their points
    for _, y, asked in (point for known in trades for point in known):
        tops[asked] = max(y, tops.get(asked, y))
    for run, (of, known) in enumerate(zip(found.runs, trades, strict=True)):
        if not known:
            continue
        colour, mark = COLOURS[run % len(COLOURS)], MARKERS[run % len(MARKERS)]
        style = _style(of.invalid)
        axes.plot(
            [x for x, _, _ in known], [y for _, y, _ in known], style, color=colour, linewidth=1.4,
            alpha=0.7, marker=mark, markersize=6, markerfacecolor=PAPER, label=label(found, run),
        )  # fmt: skip
        for x, y, asked in known:
            if (run, asked) in best:
                axes.plot(x, y, mark, color=colour, markersize=8)
            if (run, asked) in best or asked == known[-1][2]:  # all would run into each other
                axes.annotate(
                    tpm_text(asked) if found.mode == "tpm" else f"{asked:g}", (x, y),
                    xytext=(6, 5 if y == tops[asked] else -12), textcoords="offset points",
                    fontsize=9.5, color=colour,
                )  # fmt: skip
    load_axis(axes, "achieved input TPM per GPU")
    axes.set(ylabel="tokens per second and user, p50")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.1)
    if not axes.lines:
        nothing(axes, "no run says how many GPUs it had (--gpus)")


def _trade(found: Comparison, run: int) -> list[tuple[float, float, float]]:
    """(TPM per GPU, TPS p50, load asked for) of each level where both are known."""
    known = []
    for rung in found.rungs:
        at = rung.points[run]
        per_gpu, tps = found.runs[run].per_gpu(at.achieved_tpm).value, at.decode_tps_p50.value
        if per_gpu is not None and tps is not None:
            known.append((per_gpu, tps, rung.asked))
    return known


def front(found: Comparison) -> set[tuple[int, float]]:
    """(run, load) of the levels that no level of a usable run beats in TPM per GPU and TPS both."""
    usable = [
        (x, y, run, asked)
        for run, of in enumerate(found.runs)
        if not of.invalid
        for x, y, asked in _trade(found, run)
    ]
    return {
        (run, asked)
        for x, y, run, asked in usable
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b, _, _ in usable)
    }


def _lines(axes: Axes, found: Comparison, value: Figures) -> None:
    """A line a run over the loads that all were asked for, with bars. The values set the height of
    the picture: an interval far beyond them would press all lines flat."""
    values = [
        height
        for rung in found.rungs
        for at in rung.points
        if (height := value(at).value) is not None
    ]
    _heights(axes, values)
    for run in range(len(found.runs)):
        _line(axes, found, run, [value(rung.points[run]) for rung in found.rungs])
    loads = [rung.asked for rung in found.rungs]
    axes.set_xlim(0, max(loads) * 1.08)
    load_axis(axes, "offered input TPM" if found.mode == "tpm" else "developers")
    if not values:
        nothing(axes, "unknown for every run")


def _heights(axes: Axes, values: Sequence[float]) -> None:
    known = [value for value in values if value > 0]
    if axes.get_yscale() == "log":
        axes.set_ylim(min(known, default=0.1) / HEADROOM, max(known, default=1) * HEADROOM)
    else:
        axes.set_ylim(0, max(known, default=1) * HEADROOM)


def _line(axes: Axes, found: Comparison, run: int, values: Sequence[Interval]) -> None:
    colour, mark = COLOURS[run % len(COLOURS)], MARKERS[run % len(MARKERS)]
    invalid = found.runs[run].invalid
    widest = max(rung.asked for rung in found.rungs)
    aside = (run - (len(found.runs) - 1) / 2) * APART * widest
    known = [
        (rung.asked + aside, interval.value, interval)
        for rung, interval in zip(found.rungs, values, strict=True)
        if interval.value is not None
    ]
    axes.plot(
        [x for x, _, _ in known], [y for _, y, _ in known], _style(invalid), color=colour,
        marker=mark, markersize=5.5, linewidth=1.8, label=label(found, run),
        markerfacecolor=PAPER if invalid else colour,
    )  # fmt: skip
    for x, _, interval in known:
        _bar(axes, x, interval, colour)


def _style(invalid: bool) -> str:
    return "--" if invalid else "-"


def _bar(axes: Axes, x: float, interval: Interval, colour: str) -> None:
    """The interval, as far as the picture goes; an arrow where it goes on, or has no end."""
    low, high = axes.get_ylim()
    if interval.low is None and interval.high is None:
        return
    bottom = max(low, interval.low if interval.low is not None else low)
    top = min(high, interval.high if interval.high is not None else high)
    axes.plot([x, x], [bottom, top], color=colour, linewidth=1.6, alpha=0.5)
    for at, beyond, mark in (
        (high, interval.high is None or interval.high > high, "^"),
        (low, interval.low is None or interval.low < low, "v"),
    ):
        if beyond:
            axes.plot(x, at, mark, color=colour, markersize=6, alpha=0.8, clip_on=False)


def _objective(axes: Axes, found: Comparison, metric: str, percent: int) -> None:
    low, high = axes.get_ylim()
    for slo in found.objectives:
        if slo.metric == metric and slo.percent == percent and low <= slo.threshold <= high:
            axes.axhline(slo.threshold, color=LIMIT, linewidth=1.2, linestyle=(0, (6, 3)))
            axes.annotate(
                slo_text(slo), (0, slo.threshold), xycoords=("axes fraction", "data"),
                xytext=(4, 4), textcoords="offset points", color=LIMIT, fontsize=10,
            )  # fmt: skip


def _said(
    what: str, value: Figures, text: Callable[[float | None], str]
) -> Callable[[Comparison], str]:
    """The picture in words: each run's value at each load."""

    def alt(found: Comparison) -> str:
        parts = []
        for run in range(len(found.runs)):
            at = ", ".join(
                f"{text(value(rung.points[run]).value)} at {tpm_text(rung.asked)}"
                for rung in found.rungs
            )
            parts.append(f"{label(found, run)}: {at}")
        return f"{what}. {'; '.join(parts)}."

    return alt


def _front_said(found: Comparison) -> str:
    best = ", ".join(
        f"{found.names[run]} at {tpm_text(asked)}" for run, asked in sorted(front(found))
    )
    return f"Decode speed of one developer against TPM per GPU; not beaten: {best or 'none'}."


def _alone(draw: Callable[[Axes, Comparison], None]) -> Callable[[Figure, Comparison], None]:
    """With its legend above the axes, in as many columns as names of that length have room."""

    def drawing(figure: Figure, found: Comparison) -> None:
        axes = figure.add_subplot()
        draw(axes, found)
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            longest = max(map(len, labels))
            ncols = max(1, min(3, LEGEND_CHARACTERS // (longest + 6)))
            figure.legend(handles, labels, loc="outside upper left", ncols=ncols)

    return drawing


DRAWS = (ttft_p50, ttft_p90, speed, achieved, hits, pareto)
SIDE_BY_SIDE = (
    Drawing(
        "compare-ttft-p50",
        "Time to first token, median",
        "Up is slower. Bars are 95% intervals; an arrow: the interval goes on beyond the picture.",
        _alone(ttft_p50),
        _said("Median TTFT in seconds by load", lambda p: p.ttft_p50_s, number_text),
    ),
    Drawing(
        "compare-ttft-p90",
        "Time to first token, p90",
        "One turn in ten waits longer.",
        _alone(ttft_p90),
        _said("TTFT p90 in seconds by load", lambda p: p.ttft_p90_s, number_text),
    ),
    Drawing(
        "compare-speed",
        "Decode speed one developer sees",
        "Tokens per second after the first chunk; down is slower.",
        _alone(speed),
        _said("Median decode speed by load", lambda p: p.decode_tps_p50, number_text),
    ),
    Drawing(
        "compare-achieved",
        "Carried against offered",
        "On the dotted line a run keeps up; below it, work piles up.",
        _alone(achieved),
        _said("Achieved TPM by load", lambda p: p.achieved_tpm, tpm_text),
    ),
    Drawing(
        "compare-hits",
        "Prefix-cache hit share",
        "As each server reports it. The prompts were the same.",
        _alone(hits),
        _said("Reported hit share by load", lambda p: p.hit_share, share_text),
    ),
    Drawing(
        "compare-pareto",
        "TPS per user against TPM per GPU",
        "What a developer feels against what a GPU carries: up and right is better. Each point is "
        "a level; filled: no level of a usable run is better in both.",
        _alone(pareto),
        _front_said,
    ),
)
