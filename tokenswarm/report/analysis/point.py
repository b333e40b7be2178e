"""Point: one level of the curve, every figure with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenswarm.measure.record import Level
from tokenswarm.measure.slo import Slo
from tokenswarm.measure.tally import Summary
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.resample import Estimate, wilson
from tokenswarm.report.analysis.sample import LevelSample
from tokenswarm.report.analysis.steady import Steadiness, steadiness


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One level. Times in seconds, rates in tokens per minute, shares 0 to 1.

    TTFT percentiles are those of `summary`, with intervals.
    """

    level: Level
    # Seconds since the start of the run, after the warm-up; of the first to the last round.
    window: tuple[float, float]
    summary: Summary
    sessions: int  # with a turn scheduled in the window
    censored: int  # turns scheduled in the window and sent, given up before their first token
    offered_tpm: Interval
    achieved_tpm: Interval
    ttft_p50_s: Interval
    ttft_p90_s: Interval
    ttft_p95_s: Interval
    ttft_p99_s: Interval
    decode_tps_p50: Interval
    goodput: Interval
    failure_share: Interval
    hit_share: Interval
    steadiness: Steadiness


def point(level: LevelSample, slos: Sequence[Slo]) -> CurvePoint:
    """slos: what goodput is counted by."""
    p50, p90, p95, p99 = (ttft.interval() for ttft in level.timing("ttft", [50, 90, 95, 99]))
    columns = level.run.columns
    turns = len(level.scheduled)
    ended = int((columns.answered | columns.failed)[level.scheduled].sum())
    return CurvePoint(
        level=level.level,
        window=(level.windows[0][0], level.windows[-1][1]),
        summary=level.summary,
        sessions=len(set(columns.session[level.scheduled].tolist())),
        censored=int(level.run.timing("ttft")[1][level.scheduled].sum()),
        offered_tpm=level.offered_tpm.interval(),
        achieved_tpm=level.achieved_tpm.interval(),
        ttft_p50_s=p50,
        ttft_p90_s=p90,
        ttft_p95_s=p95,
        ttft_p99_s=p99,
        decode_tps_p50=level.timing("tps", [50])[0].interval(),
        goodput=_of_turns(level.goodput(slos), turns),
        failure_share=_of_turns(level.failure_share(), ended),
        hit_share=level.hit_share().interval(),
        steadiness=steadiness(level),
    )


def _of_turns(share: Estimate, n: int) -> Interval:
    """A share of turns: resamples know nothing of what no turn did, Wilson's interval does."""
    drawn = share.interval()
    if drawn.value is None:
        return drawn
    counted = wilson(drawn.value * n, n)
    return drawn.wider(counted) if drawn.low is not None else drawn
