"""Of the load: was as much offered as was asked for, and did enough of it come to an answer?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from tokenswarm.measure.no_result import MAX_FAILED_SHARE, fails_too_often
from tokenswarm.measure.quantiles import quantile
from tokenswarm.measure.record import UNSENT, Level, TurnRecord
from tokenswarm.measure.tally import SECONDS_PER_MINUTE, Summary
from tokenswarm.measure.verdict.evidence import Evidence, listed
from tokenswarm.measure.verdict.grades import Check, Limits, graded

# Mean prompts by which paced tickets stray from the target line in a window: up to 1.8 above it and
# 0.5 below (workload/arrivals.py). Each worker paces a line of its own, as chance has it.
STRAY_PROMPTS = 2.3
# Standard errors of spread arrivals (--arrival-cv) that are left to chance, as workload.figures.
STANDARD_ERRORS = 3.0
# Seconds of the run by which a turn may be sent outside its level: a target on its way to a worker,
# and what the offset between two clocks is known to (guess).
OUTSIDE_S = 2.0
LATE_S = 0.25  # as the check "generator lateness" has it


def offered_load(evidence: Evidence) -> Check:
    levels = [
        (level, summary, gap)
        for level, summary in zip(evidence.ledger.levels, evidence.levels, strict=False)
        if (gap := _gap(evidence, level, summary)) is not None
    ]
    limits = Limits(
        suspect=0.05,
        invalid=0.2,
        unit="share",
        source="beyond what chance explains; invalid: with one worker of four missing another "
        "level is measured than the one named; suspect: guess",
    )
    off = [(level, summary) for level, summary, gap in levels if gap > (limits.suspect or 0.0)]
    said = "; ".join(_off(evidence, level, summary) for level, summary in off)
    return graded(
        "offered load",
        max((gap for _, _, gap in levels), default=None),
        limits,
        f"beyond chance between what was offered and its target: {said}"
        if off
        else "every level was offered what it asks for",
        "run again with every worker there, or with more (--processes)",
        unchecked="developers at their own pace make the rate"
        if evidence.ledger.header.fingerprint.mode != "tpm"
        else "no level held its target for long enough, to an end that is known",
    )


def failures(evidence: Evidence) -> Check:
    shares = [summary.failure_share for summary in evidence.levels]
    known = [share for share in shares if share is not None]
    failing = [n for n, summary in enumerate(evidence.levels) if fails_too_often(summary)]
    return graded(
        "failures",
        max(known, default=None),
        Limits(
            suspect=MAX_FAILED_SHARE,
            invalid=None,
            unit="share",
            source="refused turns are quick and leave the others an idle engine; guess",
        ),
        "of a level's turns failed"
        + (f", so that its figures are no result ({listed(failing)})" if failing else " at most"),
        "read what the failures say; judge the endpoint by levels below",
        unchecked="no turn of a level came to an end",
    )


def _gap(evidence: Evidence, level: Level, summary: Summary) -> float | None:
    """Share of the target by which the offer is further off than chance explains:

    max(0, |offered - target| - chance) / target, each in prompt tokens of the window
    """
    start_s, end_s = summary.window
    if level.ended_at_s is None:
        return None  # killed in mid-level: nobody knows what its workers sent that is in no ledger
    if not level.target_tpm or summary.offered_tpm is None:
        return None
    if start_s < level.started_at_s + level.ramp_s:
        return None  # cut short: its rate was still on the way to the target
    minutes = (end_s - start_s) / SECONDS_PER_MINUTE
    asked = level.target_tpm * minutes
    mean = summary.prompt_tokens.mean or evidence.whole.prompt_tokens.mean
    if mean is None:
        return None
    header, ending = evidence.ledger.header, evidence.ledger.ending
    workers = 1 if ending is None or ending.workers is None else max(1, ending.workers)
    chance = mean * (
        STRAY_PROMPTS * math.sqrt(workers)
        + STANDARD_ERRORS * header.arrival_cv * math.sqrt(asked / mean)
    )
    return max(0.0, abs(summary.offered_tpm * minutes - asked) - chance) / asked


def _off(evidence: Evidence, level: Level, summary: Summary) -> str:
    share = (summary.offered_tpm or 0.0) / (level.target_tpm or 1.0)
    causes = ", ".join(_causes(evidence, level)) or "the cause is not known"
    return f"level {level.index} was offered {share:.0%} of it ({causes})"


def _causes(evidence: Evidence, level: Level) -> Iterator[str]:
    """What can be told from the turns: clocks, workers, places, the generator's own pace."""
    end_s = math.inf if level.ended_at_s is None else level.ended_at_s
    turns = [r for r in evidence.ledger.records if level.started_at_s <= r.scheduled_at_s < end_s]
    yield from _clocks(evidence, level, end_s)
    everyone = {_worker(record) for record in evidence.ledger.records}
    silent = sorted(everyone - {_worker(record) for record in turns})
    if silent:
        yield f"worker {', '.join(silent)} sent nothing"
    ending = evidence.ledger.ending
    if ending is not None and ending.workers_lost:
        yield f"{ending.workers_lost} of {ending.workers} workers were lost"
    first_s = min((r.scheduled_at_s for r in turns), default=level.started_at_s)
    if first_s > level.started_at_s + OUTSIDE_S:
        yield f"no turn was due in its first {first_s - level.started_at_s:.1f} {evidence.unit}"
    unsent = sum(record.kind == UNSENT for record in turns)
    if unsent:
        yield f"{unsent} turns found no free developer"
    late_s = quantile([s for r in turns if (s := r.generator_lateness_s) is not None], 0.9)
    if late_s is not None and late_s > LATE_S:
        yield f"the generator was slow: p90 of its lateness {late_s:.1f} {evidence.unit}"


def _clocks(evidence: Evidence, level: Level, end_s: float) -> Iterator[str]:
    """Workers that sent the level's turns before it began, or after it ended."""
    found: dict[str, float] = {}
    for record in evidence.ledger.records:
        if record.level != level.index or record.sent_at_s is None:
            continue
        early_s = level.started_at_s - record.sent_at_s
        late_s = record.sent_at_s - end_s
        worst_s = max(early_s, late_s)
        if worst_s > OUTSIDE_S:
            name = _worker(record)
            found[name] = max(found.get(name, 0.0), worst_s)
    for name, off_s in sorted(found.items()):
        yield f"the clock of worker {name} is off by {off_s:.0f} {evidence.unit} or more"


def _worker(record: TurnRecord) -> str:
    """Its index, from the session's name: "w0.u3.s1"."""
    return record.session.partition(".")[0].removeprefix("w")
