"""Of the run: is there enough of it, and is it whole?"""

from __future__ import annotations

from dataclasses import replace

from tokenswarm.measure.books import BALANCED, FLAGGED, TOLERANCE
from tokenswarm.measure.quantiles import samples_needed
from tokenswarm.measure.verdict.evidence import BEFORE, Evidence, kept_up, listed
from tokenswarm.measure.verdict.grades import INVALID, Check, Limits, graded


def samples(evidence: Evidence) -> Check:
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
    said = f"with too few turns for a p50 of TTFT: {listed(few)}" if few else "enough everywhere"
    return graded(name, float(len(few)), limits, said, mend)


def censoring(evidence: Evidence) -> Check:
    shares = [s.without_first_token / s.requests if s.requests else 0.0 for s in evidence.levels]
    sent = any(s.requests for s in evidence.levels)
    cut = [n for n, share in enumerate(shares) if share > 0]
    check = graded(
        "censoring",
        max(shares) if sent else None,
        Limits(
            suspect=0.01,
            invalid=None,
            unit="share",
            source="above 1% the p99 of TTFT is among them; invalid above 50% at every level",
        ),
        "of a level's turns had no first token when the run ended"
        + (f" ({listed(cut)})" if cut else ""),
        "drain for longer (--drain), or leave out levels far beyond saturation",
        unchecked="no turn was sent at any level",
    )
    return check if not shares or min(shares) <= 0.5 else replace(check, grade=INVALID)


def steadiness(evidence: Evidence) -> Check:
    known = [steady for steady in evidence.steady if steady is not None]
    drifting = [
        n
        for n, (steady, summary) in enumerate(zip(evidence.steady, evidence.levels, strict=True))
        if steady is False and kept_up(summary)
    ]
    return graded(
        "steadiness",
        float(len(drifting)) if known else None,
        Limits(
            suspect=0,
            invalid=None,
            unit="levels",
            source="TTFT p50 moved by half or more, or over 5% of the work piled up (guesses)",
        ),
        f"not steady, although the endpoint kept up: {listed(drifting)}"
        if drifting
        else "levels that the endpoint kept up with were steady after their warm-up",
        "hold the levels for longer",
        unchecked="too few turns at every level",
    )


def end(evidence: Evidence) -> Check:
    """A master that was killed wrote no last line: nobody knows what its workers still sent, and
    how much of it no ledger holds."""
    ledger = evidence.ledger
    unknown = ledger.ending is None and (not evidence.over or ledger.workload is None)
    return graded(
        "end",
        None if unknown else float(ledger.ending is None),
        Limits(
            suspect=None,
            invalid=0,
            unit="runs",
            source="without a last line nobody knows what the ledgers lack",
        ),
        "without an end: killed, or its disk full, before its results were written"
        if ledger.ending is None
        else "the run came to its end",
        "run it again; stop a run with Ctrl-C or SIGTERM, which write its results",
        unchecked=BEFORE if evidence.over else "the run goes on",
    )


def torn_lines(evidence: Evidence) -> Check:
    return graded(
        "torn ledgers",
        float(evidence.ledger.torn_lines),
        Limits(suspect=0, invalid=None, unit="lines", source="each is a turn that is lost"),
        "cut short at the end of a ledger because a process was killed",
        "put the other processes' ledgers of this run into its folder",
    )


def books(evidence: Evidence) -> Check:
    """Whether the servers counted what this run sent, and nothing else. What turns without usage or
    a restart explain is no reason for doubt."""
    flagged = [entry for entry in evidence.books if entry.state == FLAGGED]
    held = flagged or [entry for entry in evidence.books if entry.state == BALANCED]
    worst = max(held, key=lambda entry: abs(entry.residual or 0.0), default=None)
    explained = any(entry.state is not None for entry in evidence.books)
    figure = abs(worst.residual or 0.0) if worst else 0.0 if explained else None
    return graded(
        "server's books",
        figure,
        Limits(
            suspect=TOLERANCE,
            invalid=None,
            unit="share",
            source="beyond what a page rounds and what is under way at its reading (guess)",
        ),
        f"{worst.quantity} on the server's pages, not ours: {worst.reason}"
        if worst and flagged
        else "the server counted what this run sent",
        "measure while nobody else uses the endpoint, with a --metrics-url for each replica",
        unchecked=next((entry.reason for entry in evidence.books), "no page was read"),
    )
