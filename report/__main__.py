"""python -m report RUN: print the result again, judge SLOs, hold the run against a baseline.

    python -m report RUN --slo 'ttft_p50<1s' --baseline runs/main --max-regress ttft_p50=10%

Exit codes: those of report.gate; `compare` and `cost` are commands of their own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from measure.amounts import parse_tpm
from measure.ledger import open_run
from measure.slo import Slo
from report import invoice, markdown, side_by_side, terminal
from report.baseline import Limit
from report.gate import BAD_INPUT, gate, require_baseline
from report.junit import write_junit
from report.result import Result, result
from report.whole_file import replace_file

COMMANDS = {"compare": side_by_side.main, "cost": invoice.main}


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in COMMANDS:
            return COMMANDS[arguments[0]](arguments[1:])
        options = _parser().parse_args(arguments)
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
    except (ValueError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return BAD_INPUT
    return judged.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m report", description="Print the result of a run again."
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
        from report.plot import plot

        plot(options.plot, found)
        print(f"\nplot: {options.plot}")
    if options.html:
        from report.page import write_page

        write_page(options.html, found, against)
        print(f"\npage: {options.html}")
    if options.markdown:
        replace_file(options.markdown, markdown.summary(found, against).encode("utf-8", "replace"))
        print(f"\nmarkdown: {options.markdown}")
    if options.export:
        from report.export import export

        print(f"\n{len(export(options.export, found))} files: {options.export}")


if __name__ == "__main__":
    sys.exit(main())
