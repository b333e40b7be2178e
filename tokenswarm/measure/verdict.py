"""Verdict: whether a run can be trusted. VALID, SUSPECT or INVALID, and why.

It judges the generator and the measurement, never the endpoint: an engine that fails or crawls can
be measured validly. The verdict is the worst grade of its checks. A check that lacks what it needs
is not passed, it is *not checked*, and says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.quantiles import claimable, quantile, samples_needed
from tokenswarm.measure.record import UNSENT, TurnRecord
from tokenswarm.measure.tally import Summary
from tokenswarm.measure.window import KEPT_UP_SHARE
from workload.figures import MAX_TOLERANCE, Row

VALID, SUSPECT, INVALID = "VALID", "SUSPECT", "INVALID"
GRADES = (VALID, SUSPECT, INVALID)  # from good to bad
# A server may count a hit in whole blocks, the largest known being 256 tokens, and its own count of
# the shared prefix differs a little from the planned one (guess).
HIT_SLACK_TOKENS = 256
HIT_SLACK_SHARE = 0.02
# As workload.prompts has it: a count further off is another fault than a tokenizer's drift.
FOLLOWED_FACTOR = 4.0
BEFORE = "the ledger is of an earlier version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a figure makes a run suspect or invalid; None: never. `source` says who says so."""

    suspect: float | None
    invalid: float | None
    unit: str  # "s", "engine s", "share", or what is counted
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question to the run. grade None: not checked, `finding` says why."""

    name: str
    grade: str | None
    figure: float | None
    limits: Limits
    finding: str  # what was seen, a sentence without a full stop
    mend: str  # what to do about it


@dataclass(frozen=True, slots=True)
class Verdict:
    checks: tuple[Check, ...]

    @property
    def grade(self) -> str:
        """The worst of the checks."""
        grades = [check.grade for check in self.checks if check.grade is not None]
        return max(grades, key=GRADES.index, default=VALID)

    @property
    def reasons(self) -> list[Check]:
        """The checks that are not passed, the worst first."""
        return [check for grade in (INVALID, SUSPECT) for check in self._graded(grade)]

    @property
    def passed(self) -> list[Check]:
        return self._graded(VALID)

    @property
    def unchecked(self) -> list[Check]:
        return self._graded(None)

    def _graded(self, grade: str | None) -> list[Check]:
        return [check for check in self.checks if check.grade == grade]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a run is judged on. levels: each without its warm-up; steady: of each level, None where
    that cannot be told; workload: realised against promised, empty where nothing was promised."""

    ledger: Ledger
    levels: Sequence[Summary]
    whole: Summary
    steady: Sequence[bool | None]
    workload: Sequence[Row]

    @property
    def speed(self) -> float:
        return self.ledger.header.speed

    @property
    def unit(self) -> str:
        """What a second of the run is."""
        return "s" if self.speed == 1 else "engine s"

    @property
    def lowest_ttft_s(self) -> float | None:
        """The lowest p50 TTFT of the levels that have one to claim."""
        claimed = [s.ttft_s.p50 for s in self.levels if claimable(0.5, s.ttft_s.count)]
        return min((ttft_s for ttft_s in claimed if ttft_s is not None), default=None)

    @property
    def health(self) -> list[Health]:
        """Of every process, from the start of the first level to the end of the last."""
        levels = self.ledger.levels
        if not levels:
            return self.ledger.health
        start_s, end_s = levels[0].started_at_s, levels[-1].ended_at_s
        return [
            health
            for health in self.ledger.health
            if health.at_s - health.interval_s * self.speed >= start_s
            and (end_s is None or health.at_s <= end_s)
        ]


def judge(evidence: Evidence) -> Verdict:
    """Every check there is, in the order of the docs page."""
    checks = [
        _generator_lateness(evidence),
        _stamps(evidence),
        _read_lag(evidence),
        _coalesced_reads(evidence),
        _hub_stalls(evidence),
        _cpu(evidence),
        _workers(evidence),
        _token_drift(evidence),
        _output_length(evidence),
        _workload(evidence),
        _contamination(evidence),
        _samples(evidence),
        _censoring(evidence),
        _steadiness(evidence),
        _torn_lines(evidence),
    ]
    if evidence.ledger.header.target.simulated:
        checks.append(_engine_lateness(evidence))
    return Verdict(tuple(checks))


def kept_up(summary: Summary) -> bool:
    """Whether the endpoint answered what was offered; not where nothing was."""
    offered_tpm = summary.offered_tpm or 0
    return 0 < offered_tpm * KEPT_UP_SHARE <= (summary.achieved_tpm or 0)


def _generator_lateness(evidence: Evidence) -> Check:
    spread = evidence.whole.generator_lateness_s
    return _judged(
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


def _stamps(evidence: Evidence) -> Check:
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
        return _judged(
            "first-token stamps",
            0.0,
            limits,
            "the kernel stamped every turn, so a busy generator adds nothing to TTFT",
            mend,
        )
    lags_s = _known(health.hub_lag_p99_s for health in evidence.health)
    ttft_s = evidence.lowest_ttft_s
    error = max(lags_s) * evidence.speed / ttft_s if lags_s and ttft_s else None
    return _judged(
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


def _read_lag(evidence: Evidence) -> Check:
    lag_s = evidence.whole.stamp_lag_s.p99
    return _judged(
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
        unchecked="no turn has kernel stamps",
    )


def _coalesced_reads(evidence: Evidence) -> Check:
    return _judged(
        "coalesced reads",
        evidence.whole.coalesced_share,
        Limits(suspect=0.05, invalid=0.25, unit="share", source="guess"),
        "of output chunks carry the stamp of the one before: they were read in one go",
        "run the generator on a quieter machine; a proxy between may also bundle chunks",
        unchecked="no turn had output, or the ledger is of an earlier version",
    )


def _hub_stalls(evidence: Evidence) -> Check:
    stalls_s = _known(health.hub_lag_max_s for health in evidence.health)
    return _judged(
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
        unchecked=_no_health(evidence),
    )


def _cpu(evidence: Evidence) -> Check:
    by_process: dict[str, list[float]] = {}
    for health in evidence.health:
        by_process.setdefault(health.process, []).append(health.cpu_share)
    p90s = {name: quantile(shares, 0.9) or 0.0 for name, shares in by_process.items()}
    busiest = max(p90s, key=lambda name: p90s[name], default="")
    return _judged(
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
        unchecked=_no_health(evidence),
    )


def _workers(evidence: Evidence) -> Check:
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
    return _judged(
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
        unchecked="the ledger has no last line: the run was killed, or it is of an earlier version",
    )


def _token_drift(evidence: Evidence) -> Check:
    drift = evidence.whole.token_drift
    followed = drift is None or 1 / FOLLOWED_FACTOR <= 1 + drift <= FOLLOWED_FACTOR
    return _judged(
        "token drift",
        None if drift is None else abs(drift),
        Limits(
            suspect=0.02,
            invalid=0.1,
            unit="share",
            source="suspect: what a rate is held to; invalid: guess",
        ),
        f"{_more(drift)} prompt tokens were counted by the server than planned"
        + ("" if followed else ", which is so far off that the prompts do not follow the count"),
        "name the model's own --tokenizer",
        unchecked="the server reports no prompt tokens",
    )


def _output_length(evidence: Evidence) -> Check:
    ok = [
        r
        for r in evidence.ledger.records
        if r.outcome == "ok" and r.output_tokens is not None and r.planned_output_tokens
    ]
    planned = sum(r.planned_output_tokens for r in ok)
    length = sum(r.output_tokens or 0 for r in ok) / planned - 1 if planned else None
    return _judged(
        "output length",
        None if length is None else abs(length),
        Limits(suspect=0.1, invalid=None, unit="share", source="guess"),
        f"{_more(length)} tokens were in the replies than asked for",
        "hold the model to the length: --min-tokens, or --extra-body with ignore_eos",
        unchecked="the server reports no output tokens",
    )


def _workload(evidence: Evidence) -> Check:
    off = [row for row in evidence.workload if row.verdict == "off"]
    judged = [row for row in evidence.workload if row.verdict != "too few"]
    worst = max((abs(row.deviation or 0.0) for row in off), default=0.0)
    said = "; ".join(
        f"{row.quantity} {row.deviation or 0.0:+.1%}"
        + ("" if row.tolerance is None else f" (tolerance {row.tolerance:.1%})")
        for row in off
    )
    return _judged(
        "workload",
        worst if judged else None,
        Limits(
            suspect=0.0,
            invalid=MAX_TOLERANCE,
            unit="share",
            source="suspect: outside a figure's own tolerance, three standard errors; "
            "invalid: the widest tolerance there is",
        ),
        f"off the profile: {said}" if off else "every figure is within its tolerance",
        "hold the levels for longer; sessions come by the minute",
        unchecked=BEFORE
        if evidence.ledger.workload is None
        else "too few turns were sent to tell any figure of the workload",
    )


def _contamination(evidence: Evidence) -> Check:
    first = [
        r
        for r in evidence.ledger.records
        if r.turn == 0
        and r.kind != UNSENT
        and r.prompt_tokens is not None
        and r.cached_tokens is not None
    ]
    private = sum(max(0, (r.prompt_tokens or 0) - r.ideal_cached_tokens) for r in first)
    hit = sum(map(_unearned_hits, first))
    ending = evidence.ledger.ending
    warm = ending is not None and not ending.salted
    return _judged(
        "cache contamination",
        hit / private if private else None,
        Limits(suspect=0.01, invalid=0.05, unit="share", source="guess"),
        f"of the text that {len(first):,} sessions began with had been in the server's cache "
        "before" + (" (--warm allows it)" if warm else ""),
        "empty the server's cache, or leave out --warm",
        unchecked="the server reports no cached tokens on the first turn of any session",
    )


def _unearned_hits(first: TurnRecord) -> int:
    """Cached tokens of a session's first turn that the shared prefix does not explain."""
    earned = first.ideal_cached_tokens
    slack = max(HIT_SLACK_TOKENS, HIT_SLACK_SHARE * earned)
    excess = (first.cached_tokens or 0) - earned
    return excess if excess > slack else 0


def _samples(evidence: Evidence) -> Check:
    needed = samples_needed(0.5)
    few = [n for n, s in enumerate(evidence.levels) if s.ttft_s.count < needed]
    name, mend = "samples", "hold the levels for longer"
    limits = Limits(
        suspect=0,
        invalid=None,
        unit="levels",
        source=f"a p50 needs {needed} turns, for an error of 1%",
    )
    if evidence.whole.lateness_s.count == 0:
        said = "not a single turn was sent"
        return Check(name=name, grade=INVALID, figure=None, limits=limits, finding=said, mend=mend)
    said = f"with too few turns for a p50 of TTFT: {_listed(few)}" if few else "enough everywhere"
    return _judged(name, float(len(few)), limits, said, mend)


def _censoring(evidence: Evidence) -> Check:
    shares = [s.without_first_token / s.requests if s.requests else 0.0 for s in evidence.levels]
    worst = max(shares, default=0.0)
    cut = [n for n, share in enumerate(shares) if share > 0]
    check = _judged(
        "censoring",
        worst,
        Limits(
            suspect=0.01,
            invalid=None,
            unit="share",
            source="above 1% the p99 of TTFT is among them; invalid above 50% at every level",
        ),
        "of a level's turns had no first token when the run ended"
        + (f" ({_listed(cut)})" if cut else ""),
        "drain for longer (--drain), or leave out levels far beyond saturation",
    )
    return check if not shares or min(shares) <= 0.5 else replace(check, grade=INVALID)


def _steadiness(evidence: Evidence) -> Check:
    known = [steady for steady in evidence.steady if steady is not None]
    drifting = [
        n
        for n, (steady, summary) in enumerate(zip(evidence.steady, evidence.levels, strict=True))
        if steady is False and kept_up(summary)
    ]
    return _judged(
        "steadiness",
        float(len(drifting)) if known else None,
        Limits(
            suspect=0,
            invalid=None,
            unit="levels",
            source="TTFT p50 moved by half or more, or over 5% of the work piled up (guesses)",
        ),
        f"not steady, although the endpoint kept up: {_listed(drifting)}"
        if drifting
        else "levels that the endpoint kept up with were steady after their warm-up",
        "hold the levels for longer",
        unchecked="too few turns at every level",
    )


def _torn_lines(evidence: Evidence) -> Check:
    return _judged(
        "torn ledgers",
        float(evidence.ledger.torn_lines),
        Limits(suspect=0, invalid=None, unit="lines", source="each is a turn that is lost"),
        "cut short at the end of a ledger because a process was killed",
        "put the other processes' ledgers of this run into its folder",
    )


def _engine_lateness(evidence: Evidence) -> Check:
    """Whether the compressed clock could be kept: a token handed out late is late S times over."""
    ending, ttft_s = evidence.ledger.ending, evidence.lowest_ttft_s
    late_s = None if ending is None else ending.engine_lateness_p99_s
    invalid = 0.1  # 5 ms of wall time at speed 20
    return _judged(
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
        else "the ledger has no last line: the run was killed, or it is of an earlier version",
    )


def _judged(
    name: str,
    figure: float | None,
    limits: Limits,
    finding: str,
    mend: str,
    unchecked: str = "unknown",
) -> Check:
    """The check's grade by its limits; without a figure it is not checked."""
    grade = None if figure is None else VALID
    if figure is not None and limits.suspect is not None and figure > limits.suspect:
        grade = SUSPECT
    if figure is not None and limits.invalid is not None and figure > limits.invalid:
        grade = INVALID
    said = unchecked if figure is None else finding
    return Check(name=name, grade=grade, figure=figure, limits=limits, finding=said, mend=mend)


def _no_health(evidence: Evidence) -> str:
    if evidence.ledger.health:
        return "no measurement of the generator falls into a level"
    return f"the ledger holds no measurement of the generator: too short a run, or {BEFORE}"


def _more(difference: float | None) -> str:
    return "fewer" if (difference or 0) < 0 else "more"


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _listed(levels: Sequence[int]) -> str:
    return f"level{'s' if len(levels) > 1 else ''} {', '.join(map(str, levels))}"
