"""`make compare`: the engines of the study side by side, in virtual time and over HTTP.

First a dozen seeds in virtual time, beside what the study published. Then real HTTP traffic: a
ladder on a clock that engine and generator share, the presets taking turns, and the comparison that
any two endpoints would get. In the end the same seeds without HTTP, which have to be equal to the
last digit. All is simulated and says so.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from tokenswarm.commands.embedded_engine import engine
from tokenswarm.engine.offline.run import Figures, Load
from tokenswarm.engine.offline.study import PUBLISHED, TPM, TPS_REFERENCE
from tokenswarm.engine.offline.sweep import Case, sweep
from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.measure.ledger import read_run
from tokenswarm.measure.tally import Summary
from tokenswarm.report.analysis.steps import steps
from tokenswarm.report.notation import UNKNOWN, number_text
from workload.profiles import SEED

ROOT = Path(__file__).resolve().parent.parent
PAGE = "compare.html"  # in the folder of the runs
# The first is what the others are held against.
NAMES = sorted(PUBLISHED, key=lambda name: name != TPS_REFERENCE)
LEG_S = 10.0  # of wall time, beside the levels: start, last turns, report (measured)
LEVEL_MINUTE_S = 0.35  # of wall time for a minute at 2.5M TPM (measured)
OFFLINE_RUN_S = 0.9  # CPU seconds of one seed of one preset; two cores


@dataclass(frozen=True)
class Size:
    """How much is run. Levels in input tokens per minute, hold in engine minutes."""

    levels_tpm: tuple[float, ...]
    hold_minutes: int
    rounds: int
    seeds: int

    @property
    def http_s(self) -> float:
        leg_s = len(self.levels_tpm) * self.hold_minutes * LEVEL_MINUTE_S + LEG_S
        return len(NAMES) * self.rounds * leg_s

    @property
    def offline_s(self) -> float:
        """Of one sweep."""
        return len(NAMES) * self.seeds * OFFLINE_RUN_S / 2


# Two long levels rather than three short ones, in the same time: a queue that the climb has left
# takes minutes to go.
FULL = Size((1.5e6, TPM), hold_minutes=10, rounds=2, seeds=12)
QUICK = Size((1.5e6, TPM), hold_minutes=4, rounds=1, seeds=6)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    size = QUICK if options.quick else FULL
    wall_s = size.offline_s + (0 if options.offline else size.http_s)
    print(f"compare: about {wall_s / 60:.0f} minutes on two cores; all of it simulated", flush=True)
    code = _run("simulate", "compare", "--seeds", str(size.seeds))
    if code or options.offline:
        return code
    folder = Path("runs", time.strftime("compare-%Y%m%d-%H%M%S"))
    code = _over_http(size, folder)
    if not (ROOT / folder / PAGE).exists():
        return code or 1
    equal, table = _both(size, folder)
    print(f"\n{table}\n\nAll of it as one page: {folder / PAGE}")
    return code if equal else 1


def _over_http(size: Size, folder: Path) -> int:
    """Real traffic against one engine process for each preset, which take turns."""
    with ExitStack() as engines:
        targets = [
            f"{name}={engines.enter_context(engine('--clock', 'driven', '--preset', name))}"
            for name in NAMES
        ]
        return _run(
            "turns",
            *(word for target in targets for word in ("--target", target)),
            *("--runs", str(folder), "--rounds", str(size.rounds)),
            *("--levels", ",".join(f"{tpm:.0f}" for tpm in size.levels_tpm)),
            *("--hold", f"{size.hold_minutes}m"),
            *("--at", f"{TPM:.0f}", "--html", str(folder / PAGE)),
        )


def _both(size: Size, folder: Path) -> tuple[bool, str]:
    """Each round beside the same seed without HTTP, and whether all are equal."""
    load = Load(levels_tpm=size.levels_tpm, hold_s=size.hold_minutes * 60.0, text=True)
    cases = [Case(label=n, preset=PRESETS[n], source=SEED, load=load) for n in NAMES]
    seeds = range(1, size.rounds + 1)
    points = sweep(cases, seeds, processes=None, progress=sys.stderr.isatty())
    rows, equal = [], True
    for point in points:
        for seed, offline in zip(point.seeds, point.figures, strict=True):
            run = read_run(ROOT / folder / point.case.label / f"round-{seed}")
            pairs = _pairs(steps(run)[-1].summary, offline)
            same = all(map(_same, pairs))
            equal &= same
            cells = [UNKNOWN if value is None else number_text(value) for p in pairs for value in p]
            row = [point.case.preset.engine_name, str(seed), *cells]
            rows.append([*row, "equal" if same else "DIFFERENT"])
    head = ("engine", "seed", "TTFT p50, HTTP", "offline", "TPS p50, HTTP", "offline", "")
    return equal, (
        f"SIMULATED, at {TPM / 1e6:g}M TPM: each run over HTTP beside the same seed in virtual "
        f"time.\n\n{tabulate(rows, head, disable_numparse=True)}"
    )


Pair = tuple[float | None, float | None]


def _pairs(http: Summary, offline: Figures) -> list[Pair]:
    return [(http.ttft_s.p50, offline.ttft_p50_s), (http.decode_tps.p50, offline.tps_p50)]


def _same(pair: Pair) -> bool:
    """But for the last digits of sums in another order."""
    http, offline = pair
    if http is None or offline is None:
        return http is offline
    return math.isclose(http, offline, rel_tol=1e-6)


def _run(command: str, *options: str) -> int:
    print("running: tokenswarm", command, *options, flush=True)
    words = [sys.executable, "-m", "tokenswarm", command, *options]
    return subprocess.run(words, cwd=ROOT).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make compare", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--offline", action="store_true", help="the first table only, without HTTP")
    add("--quick", action="store_true", help="two short levels, one round, six seeds")
    return parser


if __name__ == "__main__":
    sys.exit(main())
