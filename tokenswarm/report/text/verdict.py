"""Trust: the verdict on a run, as it is written for people."""

from __future__ import annotations

from textwrap import fill

from tokenswarm.measure.verdict import INVALID, Check, Limits, Verdict
from tokenswarm.report.notation import UNKNOWN

WIDTH = 110  # of the terminal


def text(verdict: Verdict) -> str:
    """The verdict with its reasons, what was not checked, and how many checks it passed."""
    lines = [f"Verdict: {headline(verdict)}"]
    lines += [_indented(f"{check.grade}  {sentence(check)}") for check in verdict.reasons]
    lines += [_indented(f"not checked  {sentence(check)}") for check in verdict.unchecked]
    passed = ", ".join(check.name for check in verdict.passed)
    if passed:
        lines.append(_indented(f"passed  {passed}"))
    return "\n".join(lines)


def headline(verdict: Verdict) -> str:
    """The grade, and how many questions are open."""
    if not verdict.unchecked:
        return verdict.grade
    return f"{verdict.grade} ({len(verdict.unchecked)} of {len(verdict.checks)} checks not made)"


def short(verdict: Verdict) -> str:
    """ "VALID", or "INVALID for engine lateness, do not use its numbers"."""
    if not verdict.reasons:
        return verdict.grade
    names = ", ".join(check.name for check in verdict.reasons)
    warning = ", do not use its numbers" if verdict.grade == INVALID else ""
    return f"{verdict.grade} for {names}{warning}"


def sentence(check: Check) -> str:
    """What was seen, the limit it passed and how to mend it; or why it was not checked."""
    if check.grade is None:
        return f"{check.name}: {check.finding}."
    seen = f"{figure_text(check)} {check.finding}".strip()
    mend = f"{check.mend[0].upper()}{check.mend[1:]}."
    return f"{check.name}: {seen}; {limits_text(check)}. {mend}"


def figure_text(check: Check) -> str:
    """The figure with its unit: "0.04 engine s", "3.1%", "2 levels"."""
    return "" if check.figure is None else _amount(check.figure, check.limits)


def limits_text(check: Check) -> str:
    """ "suspect above 2.0%, invalid above 10.0%"."""
    limits = check.limits
    parts = [
        f"{name} above {limit_text(check, limit)}"
        for name, limit in (("suspect", limits.suspect), ("invalid", limits.invalid))
        if limit is not None
    ]
    return ", ".join(parts)


def limit_text(check: Check, limit: float | None) -> str:
    return UNKNOWN if limit is None else _amount(limit, check.limits)


def _amount(value: float, limits: Limits) -> str:
    if limits.unit == "share":
        return f"{value:.1%}"
    if limits.unit in ("s", "engine s"):
        return f"{value:.3g} {limits.unit}"
    return f"{value:g} {limits.unit[:-1] if value == 1 else limits.unit}"


def _indented(line: str) -> str:
    return fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ")
