"""Of the workload: was what was sent what was meant to be sent?"""

from __future__ import annotations

from tokenswarm.measure.record import UNSENT, TurnRecord
from tokenswarm.measure.verdict.evidence import BEFORE, Evidence
from tokenswarm.measure.verdict.grades import Check, Limits, graded
from workload.figures import MAX_TOLERANCE

# A server may count a hit in whole blocks, the largest known being 256 tokens, and its own count of
# the shared prefix differs a little from the planned one (guess).
HIT_SLACK_TOKENS = 256
HIT_SLACK_SHARE = 0.02
# As workload.prompts has it: a count further off is another fault than a tokenizer's drift.
FOLLOWED_FACTOR = 4.0


def token_drift(evidence: Evidence) -> Check:
    drift = evidence.whole.token_drift
    followed = drift is None or 1 / FOLLOWED_FACTOR <= 1 + drift <= FOLLOWED_FACTOR
    return graded(
        "token drift",
        None if drift is None else abs(drift),
        Limits(
            suspect=0.02,
            invalid=0.1,
            unit="share",
            source="suspect: what a rate is held to; invalid: guess",
        ),
        f"{more_or_fewer(drift)} prompt tokens were counted by the server than planned"
        + ("" if followed else ", which is so far off that the prompts do not follow the count"),
        "name the model's own --tokenizer",
        unchecked="the server reports no prompt tokens",
    )


def output_length(evidence: Evidence) -> Check:
    ok = [
        r
        for r in evidence.ledger.records
        if r.outcome == "ok" and r.output_tokens is not None and r.planned_output_tokens
    ]
    planned = sum(r.planned_output_tokens for r in ok)
    length = sum(r.output_tokens or 0 for r in ok) / planned - 1 if planned else None
    return graded(
        "output length",
        None if length is None else abs(length),
        Limits(suspect=0.1, invalid=None, unit="share", source="guess"),
        f"{more_or_fewer(length)} tokens were in the replies than asked for",
        "hold the model to the length: --min-tokens, or --extra-body with ignore_eos",
        unchecked="the server reports no output tokens",
    )


def workload(evidence: Evidence) -> Check:
    off = [row for row in evidence.workload if row.verdict == "off"]
    judged = [row for row in evidence.workload if row.verdict != "too few"]
    worst = max((abs(row.deviation or 0.0) for row in off), default=0.0)
    said = "; ".join(
        f"{row.quantity} {row.deviation or 0.0:+.1%}"
        + ("" if row.tolerance is None else f" (tolerance {row.tolerance:.1%})")
        for row in off
    )
    return graded(
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


def contamination(evidence: Evidence) -> Check:
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
    return graded(
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


def more_or_fewer(difference: float | None) -> str:
    return "fewer" if (difference or 0) < 0 else "more"
