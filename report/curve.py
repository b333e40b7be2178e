"""Curve: what an endpoint does as traffic rises, level by level, with 95% intervals.

Every definition stands in docs/report.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from measure.ledger import Header
from measure.record import Level
from measure.slo import Slo
from measure.tally import Summary
from report.interval import Interval

# Where a searched load lies against the levels tried.
Bound = Literal["within", "above", "below", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """Whether a level was stationary after its warm-up."""

    steady: bool | None  # None: too few turns to say
    ttft_ratio: Interval  # TTFT p50 of the turns due in the second half / in the first half
    backlog_share: Interval  # prompt tokens that piled up in the window / offered
    reason: str = ""  # when not steady, or not known


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One level. Times in seconds, rates in tokens per minute, shares 0 to 1.

    TTFT percentiles take turns without a first token at the end of the run as censored, where
    `summary` leaves them out: the values are equal if `censored` is 0.
    """

    level: Level
    window: tuple[float, float]  # seconds since the start of the run, after the warm-up
    summary: Summary
    sessions: int  # with a turn scheduled in the window
    censored: int  # turns scheduled in the window and sent, cut off before their first token
    offered_tpm: Interval
    achieved_tpm: Interval
    ttft_p50_s: Interval
    ttft_p90_s: Interval
    ttft_p99_s: Interval
    decode_tps_p50: Interval
    goodput: Interval
    failure_share: Interval
    hit_share: Interval
    steadiness: Steadiness


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The load with the most achieved TPM per second of TTFT p50 (Kleinrock's power)."""

    tpm: Interval  # offered; value None unless `bound` is "within"
    ttft_p50_s: float | None  # there
    bound: Bound  # "above": the power still rises at the highest level tried
    reason: str = ""  # when it is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The highest TPM up to which the SLOs hold, interpolated between levels."""

    slos: tuple[Slo, ...]  # all of them must hold
    tpm: Interval  # value None unless `bound` is "within"
    bound: Bound  # "above": met at every level tried; "below": missed at the lowest
    claimed: bool  # the levels that decide it have enough turns for the percentiles
    reason: str = ""  # when it is unknown or not claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    header: Header
    points: tuple[CurvePoint, ...]  # in the order of the levels
    knee: Knee
    capacities: tuple[Capacity, ...]  # one for each SLO, then one for all if there are several

    def per_gpu(self, tpm: Interval) -> Interval:
        """tpm / GPUs of the target; unknown where they are not declared."""
        gpus = self.header.target.gpus
        return tpm.scaled(1 / gpus) if gpus else Interval()
