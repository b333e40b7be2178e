"""Export: every table of a run as CSV and JSON, every figure as SVG and PNG, in one folder."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import TypeVar

import orjson

from tokenswarm.report.analysis.result import Result
from tokenswarm.report.figures.canvas import Drawing, drawn, look, watermark
from tokenswarm.report.figures.curves import CURVES
from tokenswarm.report.figures.distributions import DISTRIBUTIONS
from tokenswarm.report.figures.timeline import TIMELINE
from tokenswarm.report.files.summary import write_summary
from tokenswarm.report.text.bills import bills
from tokenswarm.report.text.table import Table, Value
from tokenswarm.report.text.tables import tables
from workload.whole_file import replace_file

T = TypeVar("T")
DRAWINGS = (*CURVES, TIMELINE, *DISTRIBUTIONS)
PNG_DPI = 160


def export(folder: Path, found: Result) -> list[Path]:
    """Writes the files, replacing earlier ones of the same name. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "summary.json"]
    write_summary(written[0], found)
    header = found.ledger.header
    of: dict[str, Value] = {"run": header.run, "simulated": header.target.simulated}
    for table in (*tables(found), bills(found)):
        if table.rows:
            written += write_table(folder, table, of)
    with look():
        for drawing in DRAWINGS:
            written += write_figure(folder, drawing, found, header.target.simulated)
    return written


def write_table(folder: Path, table: Table, of: Mapping[str, Value]) -> list[Path]:
    """As CSV and JSON. of: columns before its own, such as the run and whether it is simulated."""
    records = [{**of, **record} for record in table.records()]
    out = StringIO()
    writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    contents = {
        ".csv": out.getvalue().encode(),
        ".json": orjson.dumps(records, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
    }
    paths = []
    for suffix, content in contents.items():
        paths.append(folder / f"{table.name}{suffix}")
        replace_file(paths[-1], content)
    return paths


def write_figure(folder: Path, drawing: Drawing[T], found: T, simulated: bool) -> list[Path]:
    """As SVG and PNG; call it inside `look()`."""
    figure = drawn(drawing, found)
    watermark(figure, simulated)
    svg, png = (folder / f"{drawing.name}{suffix}" for suffix in (".svg", ".png"))
    figure.savefig(svg, facecolor="white", metadata={"Date": None})
    figure.savefig(png, facecolor="white", dpi=PNG_DPI)
    return [svg, png]
