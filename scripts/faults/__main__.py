"""`make faults`: random faults, each in a short run, and what became of its turns.

    python -m scripts.faults --faults 60 --seed 1

Each fault is drawn by its seed (seed, seed + 1, ...) and injected into a run of its own over
loopback: a master, two or three workers, a server that counts. A table at the end and a JSON file
beside the runs; exit code 1 where a turn is lost or counted twice, a rate does not come back, or a
verdict or exit code is not the right one. What did not fit on a full disk is taken from where the
run says that it is.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import orjson
from tabulate import tabulate

from scripts.faults.plan import KINDS, draw
from scripts.faults.stage import Outcome, play
from tokenswarm.exit_codes import INTERRUPTED
from tokenswarm.report.notation import UNKNOWN

FAULT_S = 45.0  # of wall time (measured on two busy cores, two runs at once)
HEAD = ("seed", "fault", "run", "finished", "lost", "twice", "in the air", "back s", "verdict")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    faults = [draw(options.seed + n, options.kind) for n in range(options.faults)]
    folder = Path("runs", time.strftime("faults-%Y%m%d-%H%M%S")).resolve()
    wall_s = len(faults) * FAULT_S / options.at_once
    print(f"{len(faults)} faults, about {wall_s / 60:.0f} minutes; all in {folder}", flush=True)

    def one(number: int) -> Outcome | str:
        fault = faults[number]
        try:
            outcome = play(fault, folder / f"seed-{fault.seed}", folder.parent / "faults-cache")
        except (OSError, RuntimeError, ValueError) as error:
            text = f"seed {fault.seed}, {fault.text}: not counted: {error}"
            print(text, flush=True)
            return text
        said = "; ".join(outcome.wrong) or "right"
        print(f"seed {fault.seed}: {fault.text}: {said} ({outcome.took_s:.0f} s)", flush=True)
        return outcome

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pool = ThreadPoolExecutor(options.at_once)
    try:
        done = list(pool.map(one, range(len(faults))))
    except KeyboardInterrupt:
        print("interrupted: runs under way end first, none of their processes stays", flush=True)
        pool.shutdown(cancel_futures=True)
        return INTERRUPTED
    outcomes = [each for each in done if isinstance(each, Outcome)]
    (folder / "faults.json").write_bytes(orjson.dumps([asdict(each) for each in outcomes]))
    print(f"\n{table(outcomes)}\n\n{summed(outcomes)}\n{folder / 'faults.json'}")
    return int(len(outcomes) < len(done) or any(each.wrong for each in outcomes))


def table(outcomes: Sequence[Outcome]) -> str:
    return tabulate([_row(each) for each in outcomes], HEAD, disable_numparse=True)


def summed(outcomes: Sequence[Outcome]) -> str:
    backs = [each.back_after_s for each in outcomes if each.back_after_s is not None]
    counted = [each.counted for each in outcomes]
    slowest = f"{max(backs):.1f} s" if backs else UNKNOWN
    return (
        f"{len(outcomes)} faults, {sum(c.finished for c in counted)} turns finished at the server: "
        f"{sum(c.lost for c in counted)} lost, {sum(c.duplicated for c in counted)} twice, "
        f"{sum(c.in_the_air for c in counted)} in the air when their client was killed; the line "
        f"was reached again within {slowest} of wall time, which is the run's; "
        f"{sum(bool(each.wrong) for each in outcomes)} faults with something wrong."
    )


def _row(each: Outcome) -> tuple[str, ...]:
    fault, counted = each.fault, each.counted
    form = "ladder" if "ladder" in fault.file else "agents"
    where = ", apart" if fault.apart else ""
    back = UNKNOWN if each.back_after_s is None else f"{each.back_after_s:.1f}"
    numbers = (counted.finished, counted.lost, counted.duplicated, counted.in_the_air)
    reasons = ", ".join(each.reasons)
    verdict = f"{each.grade}, exit {each.code}" + (f": {reasons}" if reasons else "")
    wrong = f" WRONG: {'; '.join(each.wrong)}" if each.wrong else ""
    return (
        str(fault.seed),
        fault.text,
        f"{form}, {fault.workers}{where}",
        *map(str, numbers),
        back,
        verdict + wrong,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make faults",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--faults", type=int, default=60, metavar="N", help="how many (60)")
    add("--seed", type=int, default=1, metavar="N", help="of the first fault (1)")
    add("--kind", choices=tuple(KINDS), help="no other kind")
    add("--at-once", type=int, default=1, metavar="N", help="runs side by side (1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
