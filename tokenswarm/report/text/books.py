"""Books: the server's own counts beside ours, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from tabulate import tabulate

from tokenswarm.measure.books import Entry
from tokenswarm.report.notation import UNKNOWN
from tokenswarm.report.text.levels import WIDTH

HEADS = ("the server's books (whole run)", "server", "ours", "residual", "")


def table(entries: Sequence[Entry]) -> str:
    """The entries as text, what is to be said of them below."""
    lines = [cells(entry)[:5] for entry in entries]
    alignment = ("left", *["right"] * 3, "left")
    body = tabulate(lines, HEADS, colalign=alignment, disable_numparse=True)
    said: dict[str, list[str]] = {}  # the quantities, by what is said of them
    for entry in entries:
        if entry.reason:
            said.setdefault(entry.reason, []).append(entry.quantity)
    notes = [fill(f"{', '.join(of)}: {reason}.", WIDTH) for reason, of in said.items()]
    return "\n".join([body, *([""] if notes else []), *notes])


def cells(entry: Entry) -> tuple[str, ...]:
    """One entry, as written in every table of it: HEADS, then the reason."""
    return (
        entry.quantity,
        number(entry.server),
        number(entry.ours),
        UNKNOWN if entry.residual is None else f"{entry.residual:+.2%}",
        entry.state or "",
        entry.reason,
    )


def number(value: float | None) -> str:
    """Counts whole, seconds to the millisecond."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"
