"""tokenswarm report RUN: print the result again, judge SLOs, hold the run against a baseline.

    tokenswarm report RUN --slo 'ttft_p50<1s' --baseline runs/main --max-regress ttft_p50=10%

Exit codes: those of report.gate; `compare` and `cost` are commands of their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tokenswarm.measure.amounts import parse_tpm
from tokenswarm.measure.ledger import open_run
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.regression import Limit
from tokenswarm.report.analysis.result import Result, result
from tokenswarm.report.files import markdown
from tokenswarm.report.files.junit import write_junit
from tokenswarm.report.gate import gate, require_baseline
from tokenswarm.report.text import terminal
from workload.whole_file import replace_file


def main(arguments: Sequence[str]) -> int:
    """Raises ValueError or OSError for bad input."""
    options = parser().parse_args(arguments)
    slos = [Slo.parse(text) for text in options.slo]
    limits = [Limit.parse(text) for text in options.max_regress]
    at = None if options.at is None else parse_tpm("--at", options.at)
    require_baseline(options.baseline, limits)
    found = result(open_run(options.run), slos)
    judged = gate(found, options.run, options.baseline, limits, at)
    print("\n\n".join(filter(None, (terminal.text(found), judged.text()))))
    _write_files(options, found, judged.text())
    if options.junit:
        write_junit(options.junit, judged)
    return judged.exit_code


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokenswarm report", description="Print the result of a run again."
    )
    parser.add_argument("run", type=Path, help="a run's directory, or one ledger (*.jsonl)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it: FILE.png or FILE.svg")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as one page")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="for a pull request")
    parser.add_argument(
        "--export", type=Path, metavar="DIR", help="tables as CSV and JSON, figures as SVG and PNG"
    )
    parser.add_argument(
        "--slo", action="append", default=[], help='judged at each level: "ttft_p50<1s"; repeatable'
    )
    parser.add_argument("--baseline", type=Path, metavar="RUN", help="an earlier run")
    parser.add_argument(
        "--max-regress",
        action="append",
        default=[],
        metavar="METRIC=PERCENT",
        help="how much worse than the baseline: ttft_p50=10%%; repeatable",
    )
    parser.add_argument("--at", metavar="TPM", help="level held against the baseline, such as 2.5M")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the answers as JUnit XML")
    return parser


def _write_files(options: argparse.Namespace, found: Result, against: str) -> None:
    """What was asked for, each named as it is written; matplotlib takes a second to load."""
    if options.plot:
        from tokenswarm.report.figures.plot import plot

        plot(options.plot, found)
        print(f"\nplot: {options.plot}")
    if options.html:
        from tokenswarm.report.files.page import write_page

        write_page(options.html, found, against)
        print(f"\npage: {options.html}")
    if options.markdown:
        replace_file(options.markdown, markdown.summary(found, against).encode("utf-8", "replace"))
        print(f"\nmarkdown: {options.markdown}")
    if options.export:
        from tokenswarm.report.files.export import export

        print(f"\n{len(export(options.export, found))} files: {options.export}")
