"""Findings: where the curve bends and how much traffic the objectives allow, in a few sentences."""

from __future__ import annotations

from textwrap import fill

from tokenswarm.report.analysis.capacity import Capacity
from tokenswarm.report.analysis.curve import Curve
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.knee import Knee
from tokenswarm.report.notation import number_text, tpm_text
from tokenswarm.report.text.levels import WIDTH


def text(curve: Curve) -> str:
    """A line for the knee, one for each capacity, one for levels that had not settled."""
    lines = [
        _knee(curve),
        *(_capacity(curve, each) for each in curve.capacities),
        *_unsteady(curve),
    ]
    return "\n".join(fill(line, WIDTH, subsequent_indent="  ") for line in lines)


def _knee(curve: Curve) -> str:
    knee: Knee = curve.knee
    if knee.bound == "unknown":
        return f"Knee: unknown, {knee.reason}."
    if knee.bound == "above":
        return f"Knee: above the highest level tried{_reach(knee.tpm)}."
    if knee.bound == "below":
        return f"Knee: below the lowest level tried{_reach(knee.tpm)}."
    return (
        f"Knee: {tpm_text(knee.tpm.value)} input TPM{_range(knee.tpm)}{_per_gpu(curve, knee.tpm)}, "
        f"TTFT p50 {number_text(knee.ttft_p50_s)} s there."
    )


def _capacity(curve: Curve, capacity: Capacity) -> str:
    name = "Capacity under " + ", ".join(slo.text for slo in capacity.slos)
    if capacity.bound == "unknown":
        return f"{name}: unknown, {capacity.reason}."
    weak = "" if capacity.claimed else f" Not to be claimed: {capacity.reason}."
    weak += f" {capacity.spoiled[0].upper()}{capacity.spoiled[1:]}." if capacity.spoiled else ""
    if capacity.bound == "above":
        return f"{name}: {tpm_text(capacity.met_at_tpm)} or more, no level tried missed it.{weak}"
    if capacity.bound == "below":
        return f"{name}: less than {tpm_text(capacity.missed_at_tpm)}, the lowest tried.{weak}"
    tpm = capacity.tpm
    return (
        f"{name}: {tpm_text(tpm.value)} input TPM{_range(tpm)}{_per_gpu(curve, tpm)}; "
        f"{tpm_text(capacity.met_at_tpm)} met it, {tpm_text(capacity.missed_at_tpm)} did not.{weak}"
    )


def _unsteady(curve: Curve) -> list[str]:
    return [
        f"Level {point.level.index} had not settled: {point.steadiness.reason}."
        for point in curve.points
        if point.steadiness.steady is False
    ]


def _range(tpm: Interval) -> str:
    """The interval; an end beyond the levels tried is open."""
    if tpm.low is None and tpm.high is None:
        return ""
    if tpm.low is None:
        return f" (at most {tpm_text(tpm.high)})"
    if tpm.high is None:
        return f" (at least {tpm_text(tpm.low)})"
    return f" ({tpm_text(tpm.low)} to {tpm_text(tpm.high)})"


def _reach(tpm: Interval) -> str:
    known = tpm.low if tpm.low is not None else tpm.high
    return "" if known is None else f" ({tpm_text(known)})"


def _per_gpu(curve: Curve, tpm: Interval) -> str:
    per_gpu = curve.per_gpu(tpm).value
    return "" if per_gpu is None else f", {tpm_text(per_gpu)} per GPU"
