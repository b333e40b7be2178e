"""Terminal: a run's tables, one below the other."""

from __future__ import annotations

from report import fidelity, findings, trust
from report.objectives import objectives
from report.result import Result
from report.table import table


def text(found: Result) -> str:
    """Levels, SLOs if any were asked for, knee and capacity, workload, verdict."""
    parts = [table(found.ledger, found.steps, found.whole)]
    if found.slos:
        shares = [point.goodput.value for point in found.curve.points]
        parts.append(objectives(found.steps, found.slos, shares))
    parts.append(findings.text(found.curve))
    parts += [fidelity.table(found.workload), trust.text(found.verdict)]
    return "\n\n".join(parts)
