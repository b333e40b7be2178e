"""Terminal: a run's tables, one below the other."""

from __future__ import annotations

from report import fidelity, trust
from report.objectives import objectives
from report.result import Result
from report.table import table


def text(found: Result) -> str:
    """Levels, SLOs if any were asked for, workload, verdict."""
    parts = [table(found.ledger, found.steps, found.whole)]
    if found.slos:
        parts.append(objectives(found.ledger, found.steps, found.slos))
    parts += [fidelity.table(found.workload), trust.text(found.verdict)]
    return "\n\n".join(parts)
