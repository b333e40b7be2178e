"""Workload: what was really sent beside what the profile promised, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from tokenswarm.report.notation import UNKNOWN
from workload.figures import Row

HEADS = ("workload (levels kept up with)", "target", "sent", "deviation", "tolerance", "")


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    if not rows:
        return "Workload: not compared, this ledger does not say what was promised."
    lines = [cells(row) for row in rows]
    alignment = ("left", *["right"] * 4, "left")
    return tabulate(lines, HEADS, colalign=alignment, disable_numparse=True)


def cells(row: Row) -> tuple[str, ...]:
    """One row, as written in every table of it."""
    return (
        row.quantity,
        _number(row.target),
        UNKNOWN if row.realised is None else _number(row.realised),
        UNKNOWN if row.deviation is None else f"{row.deviation:+.1%}",
        UNKNOWN if row.tolerance is None else f"{row.tolerance:.1%}",
        row.verdict,
    )


def _number(value: float) -> str:
    return f"{value:,.3g}" if value < 10 else f"{value:,.0f}"
