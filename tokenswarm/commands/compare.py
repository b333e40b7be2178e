"""tokenswarm compare A B ...: engines side by side, as tables, as a picture and as one page.

    tokenswarm compare runs/trtllm runs/sglang --at 2.5M --html both.html --gpu-hour 4.50

The first run is what the others are held against. Each may be a folder of several runs, the rounds
of an alternation (tokenswarm/commands/turns.py): they are pooled. NAME=RUN gives a run a name. Exit
codes: 0 fine, 2 bad input, among it runs that did not send the same workload, 4 one of the runs is
INVALID (--allow-invalid: 0).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from tokenswarm.exit_codes import INVALID_RUN, PASSED
from tokenswarm.measure.amounts import parse_tpm
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.compare import Comparison, compare
from tokenswarm.report.analysis.prices import SHIPPED, chosen, read_prices
from tokenswarm.report.analysis.rounds import open_runs
from tokenswarm.report.text import side_by_side
from tokenswarm.report.text.costs import Rates, own_gpus
from tokenswarm.report.text.levels import WIDTH
from tokenswarm.report.text.table import plain
from workload.whole_file import replace_file


def main(arguments: Sequence[str]) -> int:
    """Raises ValueError or OSError for bad input."""
    options = parser().parse_args(arguments)
    at = None if options.at is None else parse_tpm("--at", options.at)
    slos = [Slo.parse(text) for text in options.slo]
    prices = chosen(read_prices(options.prices), options.model, options.prices)
    if len(options.runs) < 2:
        raise ValueError(f"compare {options.runs[0]}: accepted are two runs or more")
    runs, left_out = open_runs(options.runs)
    found = compare(runs, at, slos)
    rates = Rates(_gpu_hours(options.gpu_hour, found.names), tuple(prices))
    print("\n".join([text(found, rates), *left_out]))
    _write_files(options, found, rates)
    invalid = [name for name, run in zip(found.names, found.runs, strict=True) if run.invalid]
    if not invalid or options.allow_invalid:
        return PASSED
    print(f"\nINVALID: {', '.join(invalid)}; exit code {INVALID_RUN} (--allow-invalid: 0)")
    return INVALID_RUN


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokenswarm compare", description="Runs of one workload side by side."
    )
    add = parser.add_argument
    add(
        "runs", nargs="+", metavar="RUN",
        help="directory or ledger of a run; a folder of several, or A1,A2: rounds to be pooled; "
        "NAME=RUN names it",
    )  # fmt: skip
    add("--at", metavar="TPM", help="level of the headline: 2.5M; or developers")
    add("--slo", action="append", default=[], help="what capacity and goodput are of; repeatable")
    add(
        "--gpu-hour", action="append", default=[], metavar="[NAME=]USD",
        help="price of a GPU, of one target or of all; repeatable",
    )  # fmt: skip
    add("--prices", type=Path, default=SHIPPED, metavar="FILE", help="price table")
    add("--model", action="append", default=[], help="of the price table; repeatable")
    add("--allow-invalid", action="store_true", help="exit with 0 although a run is INVALID")
    add("--html", type=Path, metavar="FILE", help="write it as one page")
    add("--plot", type=Path, metavar="FILE", help="draw it: FILE.png or FILE.svg")
    add("--markdown", type=Path, metavar="FILE", help="for a pull request")
    add("--export", type=Path, metavar="DIR", help="tables as CSV and JSON, figures as SVG and PNG")
    return parser


def _gpu_hours(given: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """By target, "" for all. Raises ValueError."""
    found = {}
    for text in given:
        name, _, usd = text.rpartition("=")
        try:
            price_usd = float(usd)
        except ValueError:
            price_usd = 0.0
        if not 0 < price_usd < float("inf"):
            raise ValueError(f"--gpu-hour {text!r}: accepted are US dollars above 0")
        if name and name not in names:
            raise ValueError(
                f"--gpu-hour {text!r}: no target {name!r}; accepted: {', '.join(names)}"
            )
        found[name] = price_usd
    return found


def text(found: Comparison, rates: Rates) -> str:
    """The table at the chosen load, capacities, the changes at every level, costs of own GPUs."""
    headline = side_by_side.headline(found)
    narrow = headline.picked(headline.name, headline.title, side_by_side.TERMINAL)
    tables = [
        narrow,
        side_by_side.changes(found),
        side_by_side.capacities(found).picked(
            "capacities",
            f"Capacity under {side_by_side.objectives_text(found)}",
            ("target", "capacity_tpm", "capacity_tpm_per_gpu", "verdict"),
        ),
        side_by_side.jobs(found),
        own_gpus(found, rates),
    ]
    parts = [f"{table.title}\n\n{plain(table)}" for table in tables if table.rows]
    parts.append("\n".join(fill(note, WIDTH) for note in side_by_side.notes(found)))
    return "\n\n".join(parts)


def _write_files(options: argparse.Namespace, found: Comparison, rates: Rates) -> None:
    """What was asked for, each named as it is written; matplotlib takes a second to load."""
    if options.plot:
        from tokenswarm.report.figures.side_by_side import overlay

        overlay(options.plot, found)
        print(f"\nplot: {options.plot}")
    if options.html:
        from tokenswarm.report.files.compare_page import write_compare_page

        write_compare_page(options.html, found, rates)
        print(f"\npage: {options.html}")
    if options.markdown:
        from tokenswarm.report.files.compare_files import compare_markdown

        written = compare_markdown(found, rates)
        replace_file(options.markdown, written.encode("utf-8", "replace"))
        print(f"\nmarkdown: {options.markdown}")
    if options.export:
        from tokenswarm.report.files.compare_files import export_comparison

        files = export_comparison(options.export, found, rates)
        print(f"\n{len(files)} files: {options.export}")
