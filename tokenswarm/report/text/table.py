"""Table: numbers for people and for programs at once, on the page, in Markdown, in CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape

from tabulate import tabulate

from tokenswarm.report.analysis.interval import Interval

Value = float | int | str | bool | None


@dataclass(frozen=True, slots=True)
class Cell:
    """text: for people; value: the number behind it, whole; low, high: its interval, which
    `range_text` writes for people."""

    text: str
    value: Value
    low: float | None = None
    high: float | None = None
    range_text: str = ""

    @classmethod
    def of(cls, interval: Interval, text: Callable[[float | None], str]) -> Cell:
        low, high = interval.low, interval.high
        bounded = interval.value is not None and (low is not None or high is not None)
        said = _range(text, low, high) if bounded else ""
        return cls(text(interval.value), interval.value, low, high, said)


@dataclass(frozen=True, slots=True)
class Column:
    """key: of files; head: for people; spread: its cells have intervals; words: they are text."""

    key: str
    head: str
    spread: bool = False
    words: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def picked(self, name: str, title: str, keys: Sequence[str]) -> Table:
        """The columns of these keys, in this order; those that the table lacks are left out."""
        known = {column.key: n for n, column in enumerate(self.columns)}
        at = [known[key] for key in keys if key in known]
        return Table(
            name,
            title,
            tuple(self.columns[n] for n in at),
            tuple(tuple(row[n] for n in at) for row in self.rows),
        )

    def named(self, head: str) -> Table:
        """With its name above the first column: a terminal shows no title."""
        first, *others = self.columns
        return replace(self, columns=(replace(first, head=head), *others))

    def records(self) -> list[dict[str, Value]]:
        """One object a row, intervals in columns of their own."""
        return [
            {
                key: value
                for column, cell in zip(self.columns, row, strict=True)
                for key, value in _flat(column, cell)
            }
            for row in self.rows
        ]


def plain(table: Table) -> str:
    """For a terminal, intervals in brackets."""
    rows = [[_in_brackets(cell) for cell in row] for row in table.rows]
    heads = [column.head for column in table.columns]
    alignment = ["left" if column.words else "right" for column in table.columns]
    return tabulate(rows, heads, disable_numparse=True, colalign=alignment if rows else None)


def markdown(table: Table) -> str:
    """A pipe table, intervals in brackets."""
    lines = [
        _piped([column.head for column in table.columns]),
        _piped(["---"] * len(table.columns)),
        *(_piped([_in_brackets(cell) for cell in row]) for row in table.rows),
    ]
    return "\n".join(lines)


def _range(text: Callable[[float | None], str], low: float | None, high: float | None) -> str:
    """An end without a bound is open."""
    if low is None:
        return f"up to {text(high)}"
    return f"from {text(low)} on" if high is None else f"{text(low)} to {text(high)}"


def _piped(texts: Sequence[str]) -> str:
    escaped = (escape(" ".join(text.split()), quote=False).replace("|", "\\|") for text in texts)
    return f"| {' | '.join(escaped)} |"


def _in_brackets(cell: Cell) -> str:
    return cell.text if not cell.range_text else f"{cell.text} ({cell.range_text})"


def _flat(column: Column, cell: Cell) -> list[tuple[str, Value]]:
    ends: list[tuple[str, Value]] = [(column.key, cell.value)]
    if column.spread:
        ends += [(f"{column.key}_low", cell.low), (f"{column.key}_high", cell.high)]
    return ends
