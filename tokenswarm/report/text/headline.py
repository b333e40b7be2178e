"""Headline: the answer of a run in a few sentences."""

from __future__ import annotations

from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.verdict import INVALID, kept_up
from tokenswarm.report.analysis.capacity import Capacity
from tokenswarm.report.analysis.curve import CurvePoint
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.notation import (
    interval_text,
    number_text,
    second_name,
    slo_text,
    tpm_text,
)
from tokenswarm.report.text import quick

NOT_VALID = "Do not use these numbers: the run is INVALID, see below."


def stopped(ledger: Ledger) -> str:
    """Why the run ended itself before its time; empty where it did not."""
    return (ledger.ending and ledger.ending.stopped) or ""


def headline(found: Result) -> str:
    """What the endpoint carries under the objectives, or why that is unknown."""
    if not found.ledger.records:
        return "No turn was sent: this run says nothing about the endpoint."
    if found.whole.ttft_s.count == 0:
        return f"No turn showed a first token; {_ends(found)}."
    if found.verdict.grade == INVALID:
        return f"INVALID run: nothing can be claimed about {name(found)}."
    if not found.curve.capacities:
        return f"{name(found)} answered {tpm_text(found.whole.achieved_tpm)} input TPM."
    capacity = found.curve.capacities[-1]
    return f"{name(found)} {_carries(found, capacity)}"


def details(found: Result) -> list[str]:
    """What qualifies the headline, a sentence each; of an INVALID run no figure is claimed."""
    if found.verdict.grade == INVALID:
        return [*_stopped(found), NOT_VALID, *_failed(found)]
    said = _stopped(found)
    highest = max(
        (p for p in found.curve.points if _was_calm(p) and p.ttft_p50_s.value is not None),
        key=lambda p: p.offered_tpm.value or 0.0,
        default=None,
    )
    said += [_too_few(capacity) for capacity in found.curve.capacities[-1:] if _is_weak(capacity)]
    if highest is not None:
        said.append(_at(found, highest))
    if found.ledger.header.quick:
        said.append(quick.sentence(found))
    said += _failed(found)
    if not found.slos and found.curve.capacities:
        said.append(f"No objective was asked for; {slo_text(found.objectives[0])} stands in.")
    return said


def _stopped(found: Result) -> list[str]:
    reason = stopped(found.ledger)
    return [f"The run ended before its time: {reason.rstrip('.')}."] if reason else []


def _failed(found: Result) -> list[str]:
    if not found.whole.failed or not found.whole.ttft_s.count:
        return []
    return [f"Of all turns, {_ends(found)}."]


def _was_calm(point: CurvePoint) -> bool:
    return kept_up(point.summary) and point.steadiness.steady is not False


def name(found: Result) -> str:
    """Who was under load; a simulated engine is named as such."""
    target = found.ledger.header.target
    if target.simulated:
        return f"SIMULATED {target.engine or target.model}"
    return target.model if target.engine is None else f"{target.model} on {target.engine}"


def _carries(found: Result, capacity: Capacity) -> str:
    under = " and ".join(map(slo_text, capacity.slos))
    carries, misses = (
        ("seems to carry", "seems to miss") if _is_weak(capacity) else ("carries", "misses")
    )
    doubt = f"; {capacity.spoiled}" if capacity.spoiled else ""
    if capacity.bound == "within" and capacity.tpm.value is not None:
        per_gpu = found.curve.per_gpu(capacity.tpm).value
        share = "" if per_gpu is None else f" ({tpm_text(per_gpu)} per GPU)"
        between = _between(capacity.tpm)
        carried = tpm_text(capacity.tpm.value)
        return f"{carries} {carried} input TPM{share} with {under}{between}{doubt}."
    if capacity.bound == "above":
        carried = tpm_text(capacity.met_at_tpm)
        return (
            f"{carries} {carried} input TPM or more with {under}: no level tried missed it{doubt}."
        )
    if capacity.bound == "below":
        lowest = tpm_text(capacity.missed_at_tpm)
        return f"{misses} {under} at every level tried, from {lowest} on{doubt}."
    return f"has no known capacity with {under}: {capacity.reason or 'too little was measured'}."


def _between(tpm: Interval) -> str:
    """An end without a bound lies beyond the levels tried, as far as the run can tell."""
    if tpm.low is None and tpm.high is None:
        return ", 95% interval open at both ends"
    if tpm.low is None or tpm.high is None:
        bound = f"up to {tpm_text(tpm.high)}" if tpm.low is None else f"from {tpm_text(tpm.low)} on"
        return f", 95% interval {bound}"
    return f", 95% interval {tpm_text(tpm.low)} to {tpm_text(tpm.high)}"


def _is_weak(capacity: Capacity) -> bool:
    """Whether too few turns decide it."""
    return capacity.bound != "unknown" and not capacity.claimed


def _too_few(capacity: Capacity) -> str:
    return f"Too few turns to claim that: {capacity.reason}."


def _at(found: Result, point: CurvePoint) -> str:
    seconds = second_name(found.ledger.header)
    ttft = interval_text(point.ttft_p50_s, number_text)
    speed = ""
    if point.decode_tps_p50.value is not None:
        speed = f", a developer sees {number_text(point.decode_tps_p50.value)} tokens per second"
    return (
        f"At {tpm_text(point.offered_tpm.value)}, the highest level it kept up with steadily, "
        f"TTFT p50 is {ttft} {seconds}{speed}."
    )


def _ends(found: Result) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.whole.failures.items())
    whole = found.whole
    failed = f"{whole.failed:,} of {whole.requests:,} failed"
    return f"{failed} ({kinds})" if kinds else f"{failed}, {whole.unfinished:,} were cut off"
