"""Compare files: a comparison as Markdown, and as tables and figures in a folder."""

from __future__ import annotations

from html import escape
from pathlib import Path

from tokenswarm.report.analysis.compare import Comparison
from tokenswarm.report.figures.canvas import look
from tokenswarm.report.figures.side_by_side import SIDE_BY_SIDE
from tokenswarm.report.files.export import write_figure, write_table
from tokenswarm.report.text import costs
from tokenswarm.report.text import side_by_side as text
from tokenswarm.report.text.costs import Rates
from tokenswarm.report.text.table import Table, Value, markdown


def compare_markdown(found: Comparison, rates: Rates) -> str:
    """Answer, the table at one load, capacity, differences and costs."""
    first, *rest = map(_plain, text.answer(found))
    parts = [f"### {first}", *rest]
    parts += [
        f"**{_plain(table.title)}**\n\n{markdown(table)}"
        for table in (text.headline(found), *_tables(found, rates))
        if table.rows
    ]
    parts.append("\n".join(f"* {_plain(note)}" for note in text.notes(found)))
    return "\n\n".join(parts) + "\n"


def _plain(said: str) -> str:
    """A server's or a person's text: one line, and no markup of its own."""
    return escape(" ".join(said.split()), quote=False)


def export_comparison(folder: Path, found: Comparison, rates: Rates) -> list[Path]:
    """Every table as CSV and JSON, every figure as SVG and PNG. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    simulated = any(run.header.target.simulated for run in found.runs)
    of: dict[str, Value] = {"simulated": simulated}
    written: list[Path] = []
    for table in (text.levels(found), *_tables(found, rates)):
        if table.rows:
            written += write_table(folder, table, of)
    with look():
        for drawing in SIDE_BY_SIDE:
            written += write_figure(folder, drawing, found, simulated)
    return written


def _tables(found: Comparison, rates: Rates) -> tuple[Table, ...]:
    return (
        text.capacities(found),
        text.changes(found),
        text.jobs(found),
        costs.own_gpus(found, rates),
        costs.lists(found, rates),
    )
