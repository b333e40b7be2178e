"""Failures: which turns failed of what, by level, and by kind with what was said."""

from __future__ import annotations

from tokenswarm.report.analysis.failures import FailureKind, failure_kinds
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.notation import share_text
from tokenswarm.report.text.table import Cell, Column, Table

BY_KIND = (
    Column("kind", "kind", words=True),
    Column("turns", "turns"),
    Column("share", "of all turns"),
    Column("first_at_s", "first at", words=True),
    Column("samples", "what was said", words=True),
)


def lines(found: Result) -> list[str]:
    """A line a kind: how many turns, at which levels, and what was said."""
    kinds = failure_kinds(found.ledger.records)
    return [f"{k.kind}, {k.turns:,} turns ({_where(k)}): {samples_text(k)}" for k in kinds]


def _where(kind: FailureKind) -> str:
    """ "3 at level 0, 40 at level 1, 2 outside of levels"."""
    return ", ".join(
        f"{turns:,} " + ("outside of levels" if level is None else f"at level {level}")
        for level, turns in kind.levels
    )


def by_level(found: Result) -> Table:
    """By kind, over the levels and the whole run."""
    kinds = list(found.whole.failures)
    summaries = [(f"level {step.level.index}", step.summary) for step in found.steps]
    summaries.append(("whole run", found.whole))
    columns = (
        Column("where", "", words=True),
        Column("turns", "turns"),
        *(Column(k, k) for k in kinds),
    )
    rows = [
        (
            Cell(name, name),
            Cell(f"{summary.requests:,}", summary.requests),
            *(Cell(str(n), n) for n in (summary.failures.get(kind, 0) for kind in kinds)),
        )
        for name, summary in summaries
        if kinds
    ]
    return Table("failures", "Failures", columns, tuple(rows))


def by_kind(found: Result) -> Table:
    """A row a kind, with samples of what servers and sockets said."""
    kinds = failure_kinds(found.ledger.records)
    rows = tuple(_row(kind, len(found.ledger.records)) for kind in kinds)
    return Table("failure-kinds", "Failures by kind", BY_KIND, rows)


def _row(kind: FailureKind, turns: int) -> tuple[Cell, ...]:
    said = samples_text(kind)
    return (
        Cell(kind.kind, kind.kind),
        Cell(f"{kind.turns:,}", kind.turns),
        Cell(share_text(kind.turns / turns), kind.turns / turns),
        Cell(_minutes(kind.first_at_s), kind.first_at_s),
        Cell(said, said),
    )


def samples_text(kind: FailureKind) -> str:
    """ "rate limit reached (40 of 49); …"; how many where there are several."""
    parts = [
        (text or "nothing") + (f" ({turns:,} of {kind.turns:,})" if len(kind.samples) > 1 else "")
        for text, turns in kind.samples
    ]
    if kind.unlike:
        parts.append(f"and {kind.unlike:,} other texts")
    return "; ".join(parts)


def _minutes(at_s: float) -> str:
    return f"{int(at_s // 60)}:{int(at_s % 60):02} min"
