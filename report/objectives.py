"""Objectives: every SLO judged at every traffic level."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from measure.ledger import Ledger
from measure.slo import Slo, Verdict, goodput
from measure.tally import Tally
from report.notation import number_text, share_text, tpm_text
from report.steps import Step

ANSWERS = {True: "met", False: "MISSED", None: "unknown"}


def judge(steps: Sequence[Step], slos: Sequence[Slo]) -> list[list[Verdict]]:
    """Verdicts by SLO, then by level."""
    return [[slo.judge(step.summary) for step in steps] for slo in slos]


def objectives(ledger: Ledger, steps: Sequence[Step], slos: Sequence[Slo]) -> str:
    """A table of SLOs by level, goodput in its last row, and why a verdict is unknown."""
    verdicts = judge(steps, slos)
    levels = [f"level {step.level.index}" for step in steps]
    rows = [[row[0].slo.text, *map(_cell, row)] for row in verdicts]
    tally = Tally(ledger.records)
    rows.append(
        ["goodput", *(share_text(goodput(tally.scheduled(step.window), slos)) for step in steps)]
    )
    reasons = [
        f"{verdict.slo.text} at {level}: {verdict.reason}"
        for row in verdicts
        for level, verdict in zip(levels, row, strict=True)
        if verdict.met is None
    ]
    table = tabulate(rows, ["SLO", *levels], disable_numparse=True)
    return "\n".join([table, *reasons])


def _cell(verdict: Verdict) -> str:
    answer = ANSWERS[verdict.met]
    return answer if verdict.value is None else f"{_value_text(verdict)} {answer}"


def _value_text(verdict: Verdict) -> str:
    value = verdict.value
    if value is None or verdict.slo.metric == "tpm":
        return tpm_text(value)
    if verdict.slo.metric in ("failures", "hit_share"):
        return f"{value:.1%}"
    return number_text(value) if verdict.slo.metric == "tps" else f"{number_text(value)} s"
