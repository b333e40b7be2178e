"""Objectives: every SLO judged at every traffic level."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from tokenswarm.measure.slo import Judgement, Slo
from tokenswarm.report.analysis.steps import Step
from tokenswarm.report.notation import number_text, share_text, tpm_text

ANSWERS = {True: "met", False: "MISSED", None: "unknown"}


def judge(steps: Sequence[Step], slos: Sequence[Slo]) -> list[list[Judgement]]:
    """Judgements by SLO, then by level."""
    return [[slo.judge(step.summary) for step in steps] for slo in slos]


def objectives(steps: Sequence[Step], slos: Sequence[Slo], goodput: Sequence[float | None]) -> str:
    """A table of SLOs by level, goodput in its last row, and why a judgement is unknown."""
    judgements = judge(steps, slos)
    levels = [f"level {step.level.index}" for step in steps]
    rows = [[row[0].slo.text, *map(cell_text, row)] for row in judgements]
    rows.append(["goodput", *map(share_text, goodput)])
    reasons = [
        f"{judgement.slo.text} at {level}: {judgement.reason}"
        for row in judgements
        for level, judgement in zip(levels, row, strict=True)
        if judgement.met is None
    ]
    table = tabulate(rows, ["SLO", *levels], disable_numparse=True)
    return "\n".join([table, *reasons])


def cell_text(judgement: Judgement) -> str:
    """ "0.53 s met", ">82.7 s MISSED", "unknown"."""
    answer = ANSWERS[judgement.met]
    if judgement.value is None:
        return answer
    return f"{'>' if judgement.beyond else ''}{_value_text(judgement)} {answer}"


def _value_text(judgement: Judgement) -> str:
    value = judgement.value
    if value is None or judgement.slo.metric == "tpm":
        return tpm_text(value)
    if judgement.slo.metric in ("failures", "hit_share"):
        return f"{value:.1%}"
    return number_text(value) if judgement.slo.metric == "tps" else f"{number_text(value)} s"
