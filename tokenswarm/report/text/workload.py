"""Workload: what was really sent beside what the profile promised."""

from __future__ import annotations

from collections.abc import Sequence

from tokenswarm.report.notation import UNKNOWN
from tokenswarm.report.text.table import Cell, Column, Table, plain
from workload.figures import Row

COLUMNS = (
    Column("quantity", "quantity", words=True),
    Column("target", "target"),
    Column("sent", "sent"),
    Column("deviation", "deviation"),
    Column("tolerance", "tolerance"),
    Column("verdict", "", words=True),
)


def table(rows: Sequence[Row]) -> Table:
    return Table("workload", "Workload", COLUMNS, tuple(map(_cells, rows)))


def text(rows: Sequence[Row]) -> str:
    if not rows:
        return "Workload: not compared, this ledger does not say what was promised."
    return plain(table(rows).named("workload (levels kept up with)"))


def _cells(row: Row) -> tuple[Cell, ...]:
    sent = UNKNOWN if row.realised is None else _number(row.realised)
    deviation = UNKNOWN if row.deviation is None else f"{row.deviation:+.1%}"
    tolerance = UNKNOWN if row.tolerance is None else f"{row.tolerance:.1%}"
    return (
        Cell(row.quantity, row.quantity),
        Cell(_number(row.target), row.target),
        Cell(sent, row.realised),
        Cell(deviation, row.deviation),
        Cell(tolerance, row.tolerance),
        Cell(row.verdict, row.verdict),
    )


def _number(value: float) -> str:
    return f"{value:,.3g}" if value < 10 else f"{value:,.0f}"
