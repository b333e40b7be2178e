"""Curve figures: what the endpoint does as traffic rises."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tokenswarm.measure.quantiles import claimable
from tokenswarm.report.analysis.curve import CurvePoint
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.figures.canvas import (
    FAINT,
    GOOD,
    HIT,
    INK,
    LIMIT,
    PAPER,
    SLOW,
    SPEED,
    TTFT_COLOURS,
    Drawing,
    legend,
    line,
    load_axis,
    nothing,
    number,
    objective,
    seconds_axis,
    series,
    share_axis,
    tpm_tick,
)
from tokenswarm.report.notation import number_text, second_name, share_text, tpm_text

Figures = Callable[[CurvePoint], Interval]


def offered(point: CurvePoint) -> Interval:
    return point.offered_tpm


def achieved(point: CurvePoint) -> Interval:
    return point.achieved_tpm


def ttft(axes: Axes, found: Result, load: Figures = offered) -> None:
    """Percentiles of TTFT against TPM."""
    percentiles: tuple[tuple[int, Figures], ...] = (
        (50, lambda p: p.ttft_p50_s),
        (90, lambda p: p.ttft_p90_s),
        (99, lambda p: p.ttft_p99_s),
    )
    shown = [(percent, series(found.curve.points, load, value)) for percent, value in percentiles]
    for percent, known in shown:
        line(axes, known, TTFT_COLOURS[percent], f"p{percent}", band=load is offered)
        for x, y, point in known:
            if y.value is not None and not claimable(percent / 100, point.summary.ttft_s.count):
                axes.plot(
                    x, y.value, "o", markersize=5, color=TTFT_COLOURS[percent],
                    markerfacecolor=PAPER,
                )  # fmt: skip
    number(axes, shown[0][1])
    objective(axes, found, "ttft")
    axes.set(ylabel=f"TTFT, {second_name(found.ledger.header)} (log)")
    seconds_axis(axes)
    load_axis(axes, f"{'offered' if load is offered else 'achieved'} input TPM")
    legend(axes)
    if not shown[0][1]:
        nothing(axes, "no turn showed a first token")


def speed(axes: Axes, found: Result) -> None:
    """Decode speed of one developer against TPM."""
    points = found.curve.points
    known = series(points, offered, lambda p: p.decode_tps_p50)
    slowest = series(points, offered, lambda p: Interval(p.summary.decode_tps.p10))
    line(axes, known, SPEED, "p50")
    line(axes, slowest, SLOW, "p10: the slowest tenth of the turns", stroke="s--")
    number(axes, known, above=True)
    objective(axes, found, "tps")
    axes.set(ylabel="tokens per second")
    axes.set_ylim(bottom=0)
    load_axis(axes, "offered input TPM")
    legend(axes)
    if not known:
        nothing(axes, "no turn has a decode speed: no usage, or no reply")


def throughput(axes: Axes, found: Result) -> None:
    """Achieved against offered TPM, and the part of it that no cache held."""
    known = series(found.curve.points, offered, achieved)
    fresh = series(found.curve.points, offered, lambda p: Interval(p.summary.uncached_tpm))
    top = max([1.0, *(x for x, _, _ in known), *(y.value or 0 for _, y, _ in known)]) * 1.06
    axes.plot([0, top], [0, top], color=FAINT, linewidth=1, linestyle=":", label="keeps up")
    line(axes, known, INK, "achieved")
    if fresh:
        line(axes, fresh, HIT, "of it not cached", stroke="s--")
    number(axes, known)
    axes.set(ylabel="achieved input TPM")
    axes.set_ylim(bottom=0, top=top)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tpm_tick(value)))
    load_axis(axes, "offered input TPM")
    legend(axes)


def hits(axes: Axes, found: Result) -> None:
    """Share of the prompts that came from the prefix cache, as reported and at best."""
    points = found.curve.points
    ideal = series(points, offered, lambda p: Interval(p.summary.ideal_hit_share))
    known = series(points, offered, lambda p: p.hit_share)
    line(axes, ideal, FAINT, "an endless cache", stroke=":")
    line(axes, known, HIT, "reported")
    number(axes, known, above=True)
    share_axis(axes, "of prompt tokens")
    load_axis(axes, "offered input TPM")
    legend(axes)
    if not known:
        nothing(axes, "the server reports no cached tokens")


def ends(axes: Axes, found: Result) -> None:
    """Goodput and failures against offered TPM."""
    points = found.curve.points
    line(axes, series(points, offered, lambda p: p.goodput), GOOD, "goodput")
    line(axes, series(points, offered, lambda p: p.failure_share), LIMIT, "failed", stroke="s-")
    share_axis(axes, "of turns that came due")
    load_axis(axes, "offered input TPM")
    legend(axes)


def _alone(draw: Callable[[Axes, Result], None]) -> Callable[[Figure, Result], None]:
    return lambda figure, found: draw(figure.add_subplot(), found)


def _said(
    what: str, value: Figures, text: Callable[[float | None], str], load: Figures = offered
) -> Callable[[Result], str]:
    """The figure in words: each level's value at its load."""

    def alt(found: Result) -> str:
        known = series(found.curve.points, load, value)
        at = ", ".join(f"{text(y.value)} at {tpm_text(x)}" for x, y, _ in known)
        return f"{what}: {at or 'unknown'}."

    return alt


CURVES = (
    Drawing(
        "ttft-offered",
        "Time to first token as traffic rises",
        "Each number is a level; up is slower. Bands and whiskers are 95% intervals. Hollow: too "
        "few turns to claim this percentile.",
        _alone(ttft),
        _said("Median TTFT in seconds by offered TPM", lambda p: p.ttft_p50_s, number_text),
    ),
    Drawing(
        "ttft-achieved",
        "The same, by what was achieved",
        "Where the line bends back, more traffic gets less done: the endpoint is saturated.",
        _alone(lambda axes, found: ttft(axes, found, achieved)),
        _said(
            "Median TTFT in seconds by achieved TPM", lambda p: p.ttft_p50_s, number_text, achieved
        ),
    ),
    Drawing(
        "throughput",
        "Carried against offered",
        "On the dotted line the endpoint keeps up; below it, work piles up.",
        _alone(throughput),
        _said("Achieved TPM by offered TPM", achieved, tpm_text),
    ),
    Drawing(
        "speed",
        "Decode speed one developer sees",
        "Tokens per second after the first chunk; down is slower.",
        _alone(speed),
        _said(
            "Median decode speed in tokens per second by offered TPM",
            lambda p: p.decode_tps_p50,
            number_text,
        ),
    ),
    Drawing(
        "goodput",
        "Goodput and failures",
        "Goodput: turns that meet every objective. Failed and unfinished turns have missed.",
        _alone(ends),
        _said("Goodput by offered TPM", lambda p: p.goodput, share_text),
    ),
    Drawing(
        "hits",
        "Prefix-cache hit share",
        "A gap to the dotted line is text that the cache lost: too small, or routed elsewhere.",
        _alone(hits),
        _said("Reported hit share by offered TPM", lambda p: p.hit_share, share_text),
    ),
)
