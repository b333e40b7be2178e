"""Terminal: a run's tables, one below the other."""

from __future__ import annotations

from textwrap import fill

from tokenswarm.measure.verdict import INVALID
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.text import (
    books,
    failures,
    findings,
    headline,
    quick,
    routing,
    workload,
)
from tokenswarm.report.text import jobs as jobs_text
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text.levels import WIDTH, table
from tokenswarm.report.text.objectives import objectives

NOT_TO_BE_USED = "Not to be used, the run is INVALID (see the verdict):"


def text(found: Result) -> str:
    """Levels, how sure a quick look is, SLOs if any were asked for, knee and capacity, sessions as
    tasks, workload, the server's books and the routing if there are, verdict."""
    reason = headline.stopped(found.ledger)
    parts = [fill(f"STOPPED before its time: {reason}.", WIDTH)] if reason else []
    parts.append(table(found.ledger, found.steps, found.whole))
    if found.whole.failed:
        said = [
            fill(f"  {line}", WIDTH, subsequent_indent="    ") for line in failures.lines(found)
        ]
        parts.append("\n".join(["Failures, with what was said:", *said]))
    if found.ledger.header.quick:
        parts.append(quick.text(found))
    if found.slos:
        shares = [point.goodput.value for point in found.curve.points]
        parts.append(objectives(found.steps, found.slos, shares))
    invalid = found.verdict.grade == INVALID
    parts.append((f"{NOT_TO_BE_USED}\n" if invalid else "") + findings.text(found.curve))
    if found.jobs is not None:
        parts.append(jobs_text.text(found))
    parts.append(workload.text(found.workload))
    if found.books:
        parts.append(books.text(found.books))
    if found.routing is not None:
        parts.append(routing.text(found.routing))
    parts.append(verdict_text.text(found.verdict))
    return "\n\n".join(parts)
