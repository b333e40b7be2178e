"""Of the generator: were turns sent and stamped when they should have been?"""

from __future__ import annotations

from tokenswarm.measure.health import Health
from tokenswarm.measure.quantiles import quantile
from tokenswarm.measure.verdict.evidence import BEFORE, Evidence, known
from tokenswarm.measure.verdict.grades import Check, Limits, graded

DRIVEN = "in driven time a busy machine only makes the run longer, and no figure depends on it"
# Of a run that goes on it is no reason: its last line is yet to come.
NO_LAST_LINE = "the ledger has no last line: the run was killed, or it is of an earlier version"


def generator_lateness(evidence: Evidence) -> Check:
    spread = evidence.whole.generator_lateness_s
    return graded(
        "generator lateness",
        spread.p99,
        Limits(
            suspect=0.25,
            invalid=1.0,
            unit=evidence.unit,
            source="guess: turns are seconds apart",
        ),
        "p99 of how long after it was due a turn was sent although a developer was free",
        "run the generator on a quieter machine, or spread it over more workers",
        unchecked="no turn was sent" if evidence.whole.lateness_s.count == 0 else BEFORE,
    )


def first_token_stamps(evidence: Evidence) -> Check:
    limits = Limits(
        suspect=0.01,
        invalid=0.05,
        unit="share",
        source="invalid: 5% of p50 TTFT, as for the embedded engine; suspect: guess",
    )
    mend = "run the generator on Linux, whose kernel stamps what arrives, or on a quieter machine"
    turns = [r for r in evidence.ledger.records if r.output_chunks]
    by_clock = sum(r.stamps == "clock" for r in turns)
    if turns and not by_clock:
        return graded(
            "first-token stamps",
            0.0,
            limits,
            "the engine stamped every turn on the clock that it shares with the generator"
            if evidence.ledger.header.driven
            else "the kernel stamped every turn, so a busy generator adds nothing to TTFT",
            mend,
        )
    lags_s = known(health.hub_lag_p99_s for health in evidence.health)
    ttft_s = evidence.lowest_ttft_s
    error = max(lags_s) * evidence.speed / ttft_s if lags_s and ttft_s else None
    return graded(
        "first-token stamps",
        error,
        limits,
        f"{by_clock:,} of {len(turns):,} turns were stamped by a process whose hub lags by this "
        "share of the lowest p50 TTFT (p99)",
        mend,
        unchecked="no turn had output"
        if not turns
        else f"{by_clock:,} of {len(turns):,} turns have no kernel stamp, and the generator's lag "
        "or the TTFT is unknown",
    )


def read_lag(evidence: Evidence) -> Check:
    lag_s = evidence.whole.stamp_lag_s.p99
    return graded(
        "read lag",
        None if lag_s is None else lag_s / evidence.speed,
        Limits(
            suspect=0.055,
            invalid=1.0,
            unit="s",
            source="suspect: beyond one full garbage collection, 55 ms measured; invalid: guess",
        ),
        "p99 of a turn's longest wait between a chunk's arrival and its being read, wall time",
        "run the generator on a quieter machine, or spread it over more workers",
        unchecked=DRIVEN if evidence.ledger.header.driven else "no turn has kernel stamps",
    )


def coalesced_reads(evidence: Evidence) -> Check:
    return graded(
        "coalesced reads",
        evidence.whole.coalesced_share,
        Limits(suspect=0.05, invalid=0.25, unit="share", source="guess"),
        "of output chunks carry the stamp of the one before: they were read in one go",
        "run the generator on a quieter machine; a proxy between may also bundle chunks",
        unchecked="no turn had output, or the ledger is of an earlier version",
    )


def hub_stalls(evidence: Evidence) -> Check:
    stalls_s = known(health.hub_lag_max_s for health in _felt(evidence))
    return graded(
        "hub stalls",
        max(stalls_s, default=None),
        Limits(
            suspect=0.5,
            invalid=3.0,
            unit="s",
            source="invalid: Locust counts a worker as missing after 3 s of silence; "
            "suspect: guess",
        ),
        "the longest time in which a generator process did nothing else, wall time",
        "run the generator on a quieter machine, or spread it over more workers",
        unchecked=no_health(evidence),
    )


def cpu(evidence: Evidence) -> Check:
    by_process: dict[str, list[float]] = {}
    for health in _felt(evidence):
        by_process.setdefault(health.process, []).append(health.cpu_share)
    p90s = {name: quantile(shares, 0.9) or 0.0 for name, shares in by_process.items()}
    busiest = max(p90s, key=lambda name: p90s[name], default="")
    return graded(
        "CPU",
        p90s.get(busiest),
        Limits(
            suspect=0.9,
            invalid=0.98,
            unit="share",
            source="suspect: above 0.9 of a core stamps were seen to go wrong; invalid: guess",
        ),
        f"of a core were used by the busiest generator process, {busiest or 'unknown'}, in 9 of "
        "10 intervals at most",
        "spread the generator over more workers (--processes)",
        unchecked=no_health(evidence),
    )


def workers(evidence: Evidence) -> Check:
    ending = evidence.ledger.ending
    lost = None if ending is None else float(ending.workers_lost + ending.workers_unreported)
    if ending is None:
        said = ""
    elif ending.workers is None:
        said = "one process sent everything, there was none to lose"
    else:
        said = (
            f"of {ending.workers} workers: {ending.workers_lost} missed their heartbeats or went "
            f"away, {ending.workers_unreported} did not report their last turns"
        )
    return graded(
        "workers",
        lost,
        Limits(
            suspect=None,
            invalid=0,
            unit="workers",
            source="the traffic of a lost worker is missing until the others take it over",
        ),
        said,
        "look for the worker's own error, its memory and its network; run again",
        unchecked=NO_LAST_LINE,
    )


def engine_lateness(evidence: Evidence) -> Check:
    """Whether the compressed clock could be kept: a token handed out late is late S times over."""
    if evidence.ledger.header.driven:
        return _shared_clock(evidence)
    ending, ttft_s = evidence.ledger.ending, evidence.lowest_ttft_s
    late_s = None if ending is None else ending.engine_lateness_p99_s
    invalid = 0.1  # 5 ms of wall time at speed 20
    return graded(
        "engine lateness",
        None if late_s is None else late_s * evidence.speed,
        Limits(
            suspect=None if ttft_s is None else min(invalid, 0.05 * ttft_s),
            invalid=invalid,
            unit="engine s",
            source="suspect: 5% of the lowest p50 TTFT; invalid: 5 ms of wall time at speed 20",
        ),
        "p99 of how late the simulated engine was against its own clock",
        "lower the engine's --speed, or quieten the machine",
        unchecked="the engine did not say, or the run was killed"
        if ending is not None
        else NO_LAST_LINE,
    )


def _shared_clock(evidence: Evidence) -> Check:
    """In driven time: late by construction is nothing, unless the clock was lost."""
    ending = evidence.ledger.ending
    lost = None if ending is None else ending.clock_lost
    return graded(
        "engine lateness",
        None if ending is None else float(lost is not None),
        Limits(suspect=None, invalid=0, unit="lost clocks", source="time stood still from then on"),
        "0 by construction: engine and generator keep one virtual clock"
        if lost is None
        else f"the clock that engine and generator share was lost: {lost}",
        "look at the engine's own output; run again",
        unchecked="the ledger has no last line: the run was killed",
    )


def _felt(evidence: Evidence) -> list[Health]:
    """The health that a figure can depend on: none in driven time."""
    return [] if evidence.ledger.header.driven else evidence.health


def no_health(evidence: Evidence) -> str:
    if evidence.ledger.header.driven:
        return DRIVEN
    if evidence.ledger.health:
        return "no measurement of the generator falls into a level"
    return f"the ledger holds no measurement of the generator: too short a run, or {BEFORE}"
