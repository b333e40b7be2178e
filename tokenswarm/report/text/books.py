"""Books: the server's own counts beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from tokenswarm.measure.books import Entry
from tokenswarm.report.notation import UNKNOWN
from tokenswarm.report.text.levels import WIDTH
from tokenswarm.report.text.table import Cell, Column, Table, plain

COLUMNS = (
    Column("quantity", "quantity", words=True),
    Column("server", "server"),
    Column("ours", "ours"),
    Column("residual", "residual"),
    Column("state", "", words=True),
    Column("reason", "reason", words=True),
)
NUMBERS = ("quantity", "server", "ours", "residual", "state")  # what a terminal has room for


def table(entries: Sequence[Entry]) -> Table:
    return Table("books", "The server's books", COLUMNS, tuple(map(_cells, entries)))


def text(entries: Sequence[Entry]) -> str:
    """The entries as a table, what is to be said of them below."""
    numbers = table(entries).picked("books", "", NUMBERS)
    said: dict[str, list[str]] = {}  # the quantities, by what is said of them
    for entry in entries:
        if entry.reason:
            said.setdefault(entry.reason, []).append(entry.quantity)
    notes = [fill(f"{', '.join(of)}: {reason}.", WIDTH) for reason, of in said.items()]
    body = plain(numbers.named("the server's books (whole run)"))
    return "\n".join([body, *([""] if notes else []), *notes])


def _cells(entry: Entry) -> tuple[Cell, ...]:
    residual = UNKNOWN if entry.residual is None else f"{entry.residual:+.2%}"
    return (
        Cell(entry.quantity, entry.quantity),
        Cell(number(entry.server), entry.server),
        Cell(number(entry.ours), entry.ours),
        Cell(residual, entry.residual),
        Cell(entry.state or "", entry.state),
        Cell(entry.reason, entry.reason),
    )


def number(value: float | None) -> str:
    """Counts whole, seconds to the millisecond."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"
