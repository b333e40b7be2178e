"""Compare page: several runs as one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenswarm.report.analysis.compare import Comparison
from tokenswarm.report.figures import side_by_side as figures
from tokenswarm.report.figures.canvas import COLOURS, look
from tokenswarm.report.files.svg import picture
from tokenswarm.report.files.templating import templates
from tokenswarm.report.text import costs
from tokenswarm.report.text import side_by_side as text
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text.costs import Rates
from tokenswarm.report.text.definitions import DEFINITIONS
from workload.whole_file import replace_file

ON_THE_PAGE = COLOURS | figures.RUN_COLOURS


def write_compare_page(path: Path, found: Comparison, rates: Rates) -> None:
    """Writes the file whole or not at all. Raises OSError."""
    replace_file(path, compare_page(found, rates).encode("utf-8", "replace"))


def compare_page(found: Comparison, rates: Rates) -> str:
    return templates().get_template("compare.html").render(_contents(found, rates))


def _contents(found: Comparison, rates: Rates) -> dict[str, Any]:
    simulated = [run.header.target.simulated for run in found.runs]
    with look():
        curves = [picture(drawing, found, ON_THE_PAGE) for drawing in figures.SIDE_BY_SIDE]
    return {
        "title": " against ".join(found.names),
        "simulated": "all" if all(simulated) else "some" if any(simulated) else "",
        "simulated_text": _simulated_text(found),
        "answer": text.answer(found),
        "headline": text.headline(found),
        "verdicts": [
            (name, run.verdict, run.verdict and verdict_text.short(run.verdict))
            for name, run in zip(found.names, found.runs, strict=True)
        ],
        "curves": curves,
        "capacities": text.capacities(found),
        "changes": text.changes(found),
        "jobs": text.jobs(found),
        "cost_sentences": costs.sentences(found, rates),
        "own_gpus": costs.own_gpus(found, rates),
        "list_prices": costs.lists(found, rates),
        "sources": costs.sources(rates.prices),
        "levels": text.levels(found).picked("levels", "Every level", text.EVERY_LEVEL),
        "notes": text.notes(found),
        "definitions": DEFINITIONS,
        "colours": ON_THE_PAGE,
    }


def _simulated_text(found: Comparison) -> str:
    of = [
        name
        for name, run in zip(found.names, found.runs, strict=True)
        if run.header.target.simulated
    ]
    which = (
        "Every number on this page comes"
        if len(of) == len(found.runs)
        else (f"The numbers of {', '.join(of)} come")
    )
    return f"{which} from the embedded engine: no measurement of a product, in engine seconds."
