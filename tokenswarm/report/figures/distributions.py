"""Distributions: lengths that were sent, over those that the profile promised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tokenswarm.report.analysis.result import Result
from tokenswarm.report.figures.canvas import (
    LIMIT,
    SPEED,
    TTFT_COLOURS,
    Drawing,
    legend,
    nothing,
    share_axis,
)
from tokenswarm.report.notation import tpm_text
from workload.figures import LAW_SHARES, Floats, Tokens

SMALL = (4.4, 3.6)  # inches
SHARES = np.linspace(0.002, 0.998, 250)


def _drawing(of: str, xlabel: str, *, log: bool) -> Callable[[Figure, Result], None]:
    def draw(figure: Figure, found: Result) -> None:
        axes = figure.add_subplot()
        numbers = found.sent.numbers(of)
        promised = found.ledger.workload.laws.get(of) if found.ledger.workload else None
        if numbers is not None and len(numbers):
            label = f"sent ({len(numbers):,})"
            _cumulative(axes, numbers, TTFT_COLOURS[90], label, linewidth=4, alpha=0.65)
        if of == "output" and (replied := _replied(found)):
            _cumulative(axes, replied, SPEED, "replied", linewidth=1.6, linestyle="--")
        if promised is not None:
            axes.plot(promised, LAW_SHARES, color=LIMIT, linewidth=1.4, label="promised")
        _lengths_axis(axes, xlabel, log=log)
        share_axis(axes, "of turns, at most this long")
        legend(axes)
        if numbers is None or not len(numbers):
            nothing(axes, "no turn was sent")

    return draw


def _cumulative(
    axes: Axes,
    numbers: Sequence[int] | Tokens | Floats,
    colour: str,
    label: str,
    **stroke: float | str,
) -> None:
    lengths = np.maximum(np.quantile(numbers, SHARES), 1)
    axes.plot(lengths, SHARES, color=colour, label=label, **stroke)  # type: ignore[arg-type]


def _replied(found: Result) -> list[int]:
    """Reply lengths as the server counts them; empty where they are what was asked for."""
    ok = [
        (r.output_tokens, r.planned_output_tokens)
        for r in found.ledger.records
        if r.outcome == "ok" and r.output_tokens is not None
    ]
    if all(replied == asked for replied, asked in ok):
        return []
    return [replied for replied, _ in ok]


def _lengths_axis(axes: Axes, xlabel: str, *, log: bool) -> None:
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=12))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(xlabel)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tpm_text(value)))


def _said(of: str) -> Callable[[Result], str]:
    def alt(found: Result) -> str:
        numbers = found.sent.numbers(of)
        if numbers is None or not len(numbers):
            return f"No {of} lengths: no turn was sent."
        return (
            f"Cumulative share of {of} lengths that were sent, median {np.median(numbers):,.0f} "
            "tokens, over those promised."
        )

    return alt


DISTRIBUTIONS = (
    Drawing(
        "prompts",
        "Prompt length",
        "Thick: sent, in brackets how many turns. Thin: promised by the profile. They should "
        "lie on each other.",
        _drawing("prompt", "prompt tokens", log=False),
        _said("prompt"),
        SMALL,
    ),
    Drawing(
        "replies",
        "Reply length",
        "What was asked for; dashed, where it differs, what the server says it wrote.",
        _drawing("output", "output tokens (log)", log=True),
        _said("output"),
        SMALL,
    ),
    Drawing(
        "new-tokens",
        "New tokens per turn",
        "What a turn adds to the last prompt, which no cache can hold. It moves TTFT more than "
        "anything else.",
        _drawing("new", "new tokens (log)", log=True),
        _said("new"),
        SMALL,
    ),
)
