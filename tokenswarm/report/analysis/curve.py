"""Curve: what an endpoint does as traffic rises, level by level, with 95% intervals.

Every definition stands in docs/report.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tokenswarm.measure.ledger import Header, Ledger
from tokenswarm.measure.slo import Slo
from tokenswarm.measure.tally import Tally
from tokenswarm.report.analysis.capacity import Capacity, capacities
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.knee import Bound, Knee, knee
from tokenswarm.report.analysis.point import CurvePoint, point
from tokenswarm.report.analysis.sample import LevelSample, RunSample
from tokenswarm.report.analysis.steady import Steadiness
from tokenswarm.report.analysis.steps import Step

__all__ = ["Bound", "Capacity", "Curve", "CurvePoint", "Knee", "Steadiness", "curve"]


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


def curve(
    ledger: Ledger,
    steps: Sequence[Step],
    slos: Sequence[Slo] = (),
    *,
    tally: Tally | None = None,
) -> Curve:
    """The curve of a run, from its ledger and the steps of tokenswarm.report.analysis.steps.

    slos: what goodput is counted by and capacity is found for; tally: of the ledger's records,
    where there is one already.
    """
    run = RunSample(ledger, columns=None if tally is None else tally.columns)
    levels = [LevelSample(run, step) for step in steps]
    return Curve(
        header=ledger.header,
        points=tuple(point(level, slos) for level in levels),
        knee=knee(levels),
        capacities=tuple(
            _first_look(capacity) if ledger.header.quick else capacity
            for capacity in capacities(levels, slos)
        ),
    )


def _first_look(capacity: Capacity) -> Capacity:
    """Levels of a quick run lean slow, so what one missed is not claimed; what one met is."""
    if capacity.bound not in ("below", "within"):
        return capacity
    reason = "; ".join(filter(None, (capacity.reason, "a quick look, which leans low")))
    return replace(capacity, claimed=False, reason=reason)
