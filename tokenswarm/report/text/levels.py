"""Table: the result by traffic level, for a terminal of 110 columns."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from tabulate import tabulate

from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.quantiles import quantile, samples_needed
from tokenswarm.measure.record import TurnRecord
from tokenswarm.measure.tally import Summary
from tokenswarm.measure.window import WARM_UP_SHARE
from tokenswarm.report.analysis.steps import Step
from tokenswarm.report.notation import (
    TOO_FEW,
    UNKNOWN,
    number_text,
    percentile_text,
    share_text,
    target_text,
    tpm_text,
)

WIDTH = 110  # of the terminal
COLUMNS = (
    "#",
    "{asked}",
    "offered\nTPM",
    "achieved\nTPM",
    "turns",
    "fail",
    "TTFT\np50",
    "\np90",
    "\np99",
    "TPS\np50",
    "hit\n(ideal)",
    "out\nmean",
    "late\np99",
)


def table(ledger: Ledger, steps: Sequence[Step], whole: Summary) -> str:
    """The table with what it was measured on above it and what qualifies it below."""
    open_mode = ledger.header.fingerprint.mode == "tpm"
    rows = [row(step, open_mode) for step in steps]
    body = tabulate(rows, headings(open_mode), disable_numparse=True, stralign="right")
    below = ([too_few()] if TOO_FEW in body else []) + notes(ledger, steps, whole)
    return "\n".join([*_above(ledger), "", body, "", *(fill(note, WIDTH) for note in below)])


def _above(ledger: Ledger) -> list[str]:
    header, mark = ledger.header, ledger.header.fingerprint
    return [
        target_text(header),
        f"run {header.run}: profile {mark.profile}, seed {mark.seed}, {mark.mode} mode, "
        f"tokenizer {mark.tokenizer}",
        f"#: traffic level, its first {WARM_UP_SHARE:.0%} left out; TTFT and late: seconds; "
        "TPS: tokens per second and user",
    ]


def headings(open_mode: bool) -> list[str]:
    """What stands above the cells of a `row`; a line break where a narrow column has one."""
    return [name.format(asked="target\nTPM" if open_mode else "devs") for name in COLUMNS]


def row(step: Step, open_mode: bool) -> list[str]:
    """A level's cells, one for each of COLUMNS."""
    summary, level = step.summary, step.level
    developers = UNKNOWN if level.developers is None else str(level.developers)
    return [
        str(level.index),
        tpm_text(level.target_tpm) if open_mode else developers,
        tpm_text(summary.offered_tpm),
        tpm_text(summary.achieved_tpm),
        f"{summary.requests:,}",
        f"{summary.failed:,}",
        *(percentile_text(summary.ttft_s, percent) for percent in (50, 90, 99)),
        percentile_text(summary.decode_tps, 50),
        f"{share_text(summary.hit_share)} ({share_text(summary.ideal_hit_share)})",
        number_text(summary.output_tokens.mean),
        percentile_text(summary.lateness_s, 99),
    ]


def notes(ledger: Ledger, steps: Sequence[Step], whole: Summary) -> list[str]:
    """What qualifies the table, a sentence or two each."""
    lines = [
        f"Failures at level {step.level.index}: {_kinds(step.summary.failures)}"
        for step in steps
        if step.summary.failures
    ]
    lines += [
        _ends(whole),
        *_waits(ledger, whole),
        *_censored(steps, whole),
        _drift(whole),
        *_inferred(whole),
    ]
    lines += [*_new_tokens(whole), *_early(ledger.records, steps)]
    if (share := whole.estimated_first_chunk_share) is not None and share > 0:
        lines.append(f"TPS: tokens in the first chunk are estimated in {share:.0%} of the turns.")
    if ledger.torn_lines:
        lines.append(f"Ledger: {ledger.torn_lines} torn last line(s) dropped.")
    return lines


def too_few() -> str:
    """What the mark on a percentile says."""
    needs = ", ".join(f"a p{percent} {samples_needed(percent / 100)}" for percent in (50, 90, 99))
    return f"{TOO_FEW} too few turns to claim it: {needs} are needed."


def _ends(whole: Summary) -> str:
    failed = f"{whole.failed:,} failed"
    if whole.failures:
        failed += f" ({_kinds(whole.failures)})"
    withheld = f"{whole.withheld:,} withheld, " if whole.withheld else ""
    return (
        f"Whole run, warm-up and drain included: {whole.requests:,} turns, {whole.ok:,} ok, "
        f"{whole.cancelled:,} cancelled, {withheld}{failed}, {whole.unfinished:,} unfinished."
    )


def _waits(ledger: Ledger, whole: Summary) -> list[str]:
    if not whole.told_to_wait:
        return []
    most_s = ledger.header.max_retry_after_s
    over = sum((record.retry_after_s or 0.0) > most_s for record in ledger.records)
    capped = f", {over:,} of them for over {most_s:g} s: no longer was waited" if over else ""
    return [f"Retry-After: {whole.told_to_wait:,} answers told a developer to stay away{capped}."]


def _censored(steps: Sequence[Step], whole: Summary) -> list[str]:
    if not whole.unfinished:
        return []
    levels = ", ".join(
        f"level {step.level.index}: {step.summary.unfinished}"
        for step in steps
        if step.summary.unfinished
    )
    return [
        f"Unfinished turns are censored, not failures: {whole.without_first_token:,} of "
        f"{whole.unfinished:,} had no first token; TTFT counts them as longer than their wait"
        + (f" ({levels})." if levels else ".")
    ]


def _drift(whole: Summary) -> str:
    if whole.token_drift is None:
        return "Token drift: unknown, the server reports no prompt tokens."
    return (
        f"Token drift: {whole.token_drift:+.2%} (prompt tokens, reported against planned); the "
        f"run's tokenizer alone: {whole.tokenizer_drift:+.2%}."
    )


def _inferred(whole: Summary) -> list[str]:
    if not whole.inferred_misses:
        return []
    return [
        f"Hit share: no cached count on {whole.inferred_misses:,} of the turns, taken as misses: "
        "others have one (vLLM leaves out a zero)."
    ]


def _new_tokens(whole: Summary) -> list[str]:
    new = whole.new_tokens
    return [
        f"New tokens per turn (prompt less its ideal cached part): mean {number_text(new.mean)}, "
        f"p50 {number_text(new.p50)}.",
        "New tokens per turn is the most influential number: it stands beside every result.",
    ]


def _early(records: Sequence[TurnRecord], steps: Sequence[Step]) -> list[str]:
    """Of the turns of the levels that a ticket called; none in closed mode, where every pause is
    kept."""
    windows = [step.window for step in steps]
    known_s = [
        r.early_s
        for r in records
        if r.early_s is not None
        and r.sent_at_s is not None
        and any(start_s <= r.scheduled_at_s < end_s for start_s, end_s in windows)
    ]
    early_s = [seconds for seconds in known_s if seconds > 0]
    if not early_s:
        return []
    return [
        f"Pauses: {len(early_s) / len(known_s):.0%} of the levels' turns were due before their "
        f"developer's own pause was over, by {number_text(quantile(early_s, 0.5))} s in the median."
    ]


def _kinds(failures: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in failures.items())
