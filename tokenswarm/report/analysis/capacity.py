"""Capacity: the highest TPM up to which service-level objectives hold.

From the lowest offered load on, the first level that misses ends it: one that meets them again
further up does so by luck, or because turns fail fast. Between the last level that meets an SLO
and the first that misses it, the value is interpolated against the offered load (on a logarithmic
scale for times), and the capacity is the TPM carried there: the smaller of offered and achieved.
Where the logarithm of the time bends upwards, as in a queue, that is on the low side.

A level at which many turns failed, or that fell far behind what was offered, is no result: turns
that are refused are quick, and leave the others an idle engine. Where it would meet the SLO, it
ends the search all the same, and the capacity is what the level before it carried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokenswarm.measure.columns import Flags, Floats
from tokenswarm.measure.no_result import no_result
from tokenswarm.measure.slo import TIMINGS, Slo
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.knee import Bound, bound_of
from tokenswarm.report.analysis.resample import Estimate, interval
from tokenswarm.report.analysis.sample import LevelSample

LOGARITHMIC = tuple(name for name, timing in TIMINGS.items() if timing.better == "<")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The highest TPM up to which the SLOs hold, interpolated between levels."""

    slos: tuple[Slo, ...]  # all of them must hold
    tpm: Interval  # value None unless `bound` is "within"
    bound: Bound  # "above": met at every level tried; "below": missed at the lowest
    # What the two levels that decide it carried, or were offered: the capacity lies between them
    # whatever the curve is like there. The interval is of the interpolated value. Where no level
    # missed, met_at_tpm is the most that any carried.
    met_at_tpm: float | None
    missed_at_tpm: float | None
    claimed: bool  # the levels that decide it have enough turns for the percentiles
    reason: str = ""  # when it is unknown or not claimed
    spoiled: str = ""  # why the level that ends it is no result, where it is none

    @property
    def carried_tpm(self) -> Interval:
        """What may be counted on: the capacity, or where no level missed the most that any carried,
        an end that is open above."""
        if self.bound == "above":
            return Interval(self.met_at_tpm, self.met_at_tpm)
        return self.tpm


def capacities(levels: Sequence[LevelSample], slos: Sequence[Slo]) -> tuple[Capacity, ...]:
    """One for each SLO on the state of the endpoint, then one for all if there are several.

    An SLO on TPM itself is left out: every level below it would miss it.
    """
    levels = sorted(
        (level for level in levels if level.offered_tpm.value > 0),
        key=lambda level: level.offered_tpm.value,
    )
    crossings = [_Crossing(levels, slo) for slo in slos if slo.metric != "tpm"]
    single = tuple(_capacity((crossing,)) for crossing in crossings)
    return single if len(crossings) < 2 else (*single, _capacity(crossings))


class _Crossing:
    """Where one SLO stops to hold: the estimate, and its resamples."""

    def __init__(self, levels: Sequence[LevelSample], slo: Slo) -> None:
        self.slo = slo
        estimates = [level.metric(slo.metric, slo.percent) for level in levels]
        offered = np.array([level.offered_tpm.value for level in levels])
        carried = np.minimum(offered, [level.achieved_tpm.value for level in levels])
        values = np.array([estimate.value for estimate in estimates])[:, None]
        holds = slo.holds_each(values[:, 0]) if levels else np.array([], dtype=bool)
        # One that misses by its own figures needs no other reason.
        reasons = [_spoiled(e) if h else "" for e, h in zip(levels, holds, strict=True)]
        spoiled = np.array([bool(reason) for reason in reasons])
        self.tpm = float(_ends(slo, spoiled, carried, values)[0]) if levels else np.nan
        self.replicates = [
            _ends(slo, spoiled, carried, np.stack([e.replicates[way] for e in estimates]))
            for way in range(2)
            if levels and all(len(e.replicates) > way for e in estimates)
        ]
        meets = holds & ~spoiled if levels else holds
        around = _around(meets)
        self.spoiled = next((reasons[at] for at in around if reasons[at]), "")
        self.met_at_tpm = next((float(carried[at]) for at in around if meets[at]), None)
        self.missed_at_tpm = next((float(offered[at]) for at in around if not meets[at]), None)
        if around and self.missed_at_tpm is None:  # an overloaded last level carries less
            self.met_at_tpm = float(carried.max())
        self.clusters = [
            min((estimates[at].clusters[way] for at in around), default=0)
            for way in range(len(self.replicates))
        ]
        self.too_few = "; ".join(
            _unclaimed(levels[at], slo, estimates[at]) for at in around if not reasons[at]
        )
        self.too_few = self.too_few.strip("; ")


def _capacity(crossings: Sequence[_Crossing]) -> Capacity:
    """Of the SLOs together: the lowest of their capacities, resample by resample."""
    tpm = float(np.min([crossing.tpm for crossing in crossings]))  # NaN if one is unknown
    ways = min(len(crossing.replicates) for crossing in crossings)
    replicates = [
        np.min([crossing.replicates[way] for crossing in crossings], axis=0) for way in range(ways)
    ]
    deciding = min(crossings, key=lambda crossing: crossing.tpm)
    reason = "; ".join(dict.fromkeys(c.too_few for c in crossings if c.too_few))
    if np.isnan(tpm):
        reason = "a level tried has no value for it"
    return Capacity(
        slos=tuple(crossing.slo for crossing in crossings),
        tpm=interval(tpm, replicates, deciding.clusters[:ways]),
        bound=bound_of(tpm),
        met_at_tpm=deciding.met_at_tpm,
        missed_at_tpm=deciding.missed_at_tpm,
        claimed=not reason,
        reason=reason,
        spoiled=deciding.spoiled,
    )


def _spoiled(level: LevelSample) -> str:
    """Why the level is no result; empty where it is one."""
    reason = no_result(level.summary)
    return f"level {level.level.index} is no result: {reason}" if reason else ""


def _ends(slo: Slo, spoiled: Flags, carried: Floats, values: Floats) -> Floats:
    """TPM carried where the SLO stops to hold, for each column of values (levels, n): inf where it
    holds at every level, -inf where at none, NaN where a value on the way is unknown. spoiled:
    levels that are no result."""
    unknown = np.isnan(values) & ~spoiled[:, None]
    missed = ~unknown & ~slo.holds_each(values) | spoiled[:, None]
    stops = missed | unknown
    stop = stops.argmax(axis=0)
    columns = np.arange(values.shape[1])
    before = np.maximum(stop - 1, 0)
    part = _part(slo, values[before, columns], values[stop, columns])
    part[spoiled[stop]] = 0.0  # nothing is known of what lies between
    reached = carried[before] + part * (carried[stop] - carried[before])
    found: Floats = np.maximum(reached, carried[before])  # that much was carried and met
    found[stop == 0] = -np.inf
    found[~stops.any(axis=0)] = np.inf
    found[unknown[stop, columns] & stops.any(axis=0)] = np.nan
    return found


def _part(slo: Slo, met: Floats, missed: Floats) -> Floats:
    """How far from one level to the next the threshold lies, 0 to 1."""
    threshold = np.full(met.shape, slo.threshold)
    with np.errstate(divide="ignore", invalid="ignore"):
        if slo.metric in LOGARITHMIC:
            met, missed, threshold = np.log(met), np.log(missed), np.log(threshold)
        part = (threshold - met) / (missed - met)
    inside: Floats = np.clip(np.nan_to_num(part, nan=0.0), 0, 1)
    return inside


def _around(meets: Flags) -> list[int]:
    """The levels that decide: the last that meets it and the first that does not."""
    if not len(meets):
        return []
    if meets.all():
        return [len(meets) - 1]
    first = int((~meets).argmax())
    return [first] if first == 0 else [first - 1, first]


def _unclaimed(level: LevelSample, slo: Slo, estimate: Estimate) -> str:
    """Why the level's value cannot be claimed; empty where it can."""
    judgement = slo.judge(level.summary)
    if judgement.met is not None or np.isnan(estimate.value):
        return ""
    return f"level {level.level.index}: {judgement.reason}"
