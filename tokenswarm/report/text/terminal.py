"""Terminal: a run's tables, one below the other."""

from __future__ import annotations

from tokenswarm.report.analysis.result import Result
from tokenswarm.report.text import books, findings
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text import workload as workload_text
from tokenswarm.report.text.levels import table
from tokenswarm.report.text.objectives import objectives


def text(found: Result) -> str:
    """Levels, SLOs if any were asked for, knee and capacity, workload, the server's books if
    there are, verdict."""
    parts = [table(found.ledger, found.steps, found.whole)]
    if found.slos:
        shares = [point.goodput.value for point in found.curve.points]
        parts.append(objectives(found.steps, found.slos, shares))
    parts.append(findings.text(found.curve))
    parts.append(workload_text.table(found.workload))
    if found.books:
        parts.append(books.table(found.books))
    parts.append(verdict_text.text(found.verdict))
    return "\n\n".join(parts)
