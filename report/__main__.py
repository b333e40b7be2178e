"""python -m report RUN_DIR: print the result of a run again, judge SLOs, draw the picture.

Exit codes: 0 fine, 1 an SLO is missed at some level, 2 bad input, 3 no SLO is missed but one
cannot be judged at some level (too few turns, or the server does not report it), 4 the run is
INVALID, whatever the SLOs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from measure.ledger import open_run
from measure.slo import Slo
from measure.verdict import INVALID
from report import invoice, side_by_side, terminal
from report.objectives import judge
from report.result import Result, result

COMMANDS = {"compare": side_by_side.main, "cost": invoice.main}
FINE, MISSED, BAD_INPUT, UNJUDGED, NOT_VALID = 0, 1, 2, 3, 4


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in COMMANDS:
            return COMMANDS[arguments[0]](arguments[1:])
        options = _parser().parse_args(arguments)
        slos = [Slo.parse(text) for text in options.slo]
        found = result(open_run(options.run), slos)
        print(terminal.text(found))
        if options.plot:
            _plot(options.plot, found)
    except (ValueError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return BAD_INPUT
    return _exit_code(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m report", description="Print the result of a run again."
    )
    parser.add_argument("run", type=Path, help="a run's directory, or one ledger (*.jsonl)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it: FILE.png or FILE.svg")
    parser.add_argument(
        "--slo", action="append", default=[], help='judged at each level: "ttft_p50<1s"; repeatable'
    )
    return parser


def _plot(path: Path, found: Result) -> None:
    from report.plot import plot  # matplotlib takes a second to load

    plot(path, found.ledger.header, found.steps)
    print(f"\nplot: {path}")


def _exit_code(found: Result) -> int:
    if found.verdict.grade == INVALID:
        return NOT_VALID
    answers = {judgement.met for row in judge(found.steps, found.slos) for judgement in row}
    if False in answers:
        return MISSED
    return UNJUDGED if None in answers else FINE


if __name__ == "__main__":
    sys.exit(main())
