"""`make compare`: the engines of the study side by side, in virtual time and over HTTP.

First 24 seeds in virtual time, beside what the study published. Then real HTTP traffic: a ladder on
a clock that engine and generator share, the presets taking turns, and the comparison that any two
endpoints would get. In the end both answers next to each other. All is simulated and says so.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from tokenswarm.commands.embedded_engine import engine
from tokenswarm.engine.offline.run import Load
from tokenswarm.engine.offline.study import PUBLISHED, TPM, TPS_REFERENCE
from tokenswarm.engine.offline.sweep import Case, Point, sweep
from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.report.analysis.compare import compare
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.point import CurvePoint
from tokenswarm.report.analysis.rounds import open_runs
from tokenswarm.report.notation import UNKNOWN, interval_text, number_text
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


# Two levels of 12 minutes rather than three of 8, in the same time: a queue that the climb has left
# takes minutes to go. Offline, trtllm-like's p50 TTFT is 1.09 s so, and 1.41 s with three levels.
FULL = Size((1.5e6, TPM), hold_minutes=12, rounds=2, seeds=24)
QUICK = Size((1.5e6, TPM), hold_minutes=4, rounds=1, seeds=6)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    size = QUICK if options.quick else FULL
    wall_s = size.offline_s + (0 if options.offline else size.http_s + size.offline_s)
    print(f"compare: about {wall_s / 60:.0f} minutes on two cores; all of it simulated", flush=True)
    code = _run("simulate", "compare", "--seeds", str(size.seeds))
    if code or options.offline:
        return code
    folder = Path("runs", time.strftime("compare-%Y%m%d-%H%M%S"))
    code = _over_http(size, folder)
    if not (ROOT / folder / PAGE).exists():
        return code or 1
    print(f"\n{_both(size, folder)}")
    print(f"\nAll of it as one page: {folder / PAGE}")
    return code


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


def _both(size: Size, folder: Path) -> str:
    """HTTP beside the same ladder in virtual time."""
    load = Load(levels_tpm=size.levels_tpm, hold_s=size.hold_minutes * 60.0)
    cases = [Case(label=n, preset=PRESETS[n], source=SEED, load=load) for n in NAMES]
    seeds = range(1, size.seeds + 1)
    offline = sweep(cases, seeds, processes=None, progress=sys.stderr.isatty())
    runs, _ = open_runs([str(ROOT / folder / name) for name in NAMES])
    http = compare(runs, TPM).chosen.points
    rows = [_row(point, seen) for point, seen in zip(offline, http, strict=True)]
    head = ("engine", "TTFT p50, HTTP", "offline", "", "TPS p50, HTTP", "offline", "")
    return (
        f"SIMULATED, at {TPM / 1e6:g}M TPM. HTTP: {size.rounds} x {size.hold_minutes} engine "
        f"minutes, 95% interval. Offline: the same\nladder in virtual time, median of {size.seeds} "
        "seeds (the lowest to the highest).\n\n"
        f"{tabulate(rows, head, disable_numparse=True)}\n\n"
        "within: the value over HTTP lies among those of the seeds."
    )


def _row(offline: Point, http: CurvePoint) -> list[str]:
    row = [offline.case.preset.engine_name]
    for name, seen in (("ttft_p50_s", http.ttft_p50_s), ("tps_p50", http.decode_tps_p50)):
        values = [value for f in offline.figures if (value := getattr(f, name)) is not None]
        if not values or seen.value is None:
            row += [interval_text(seen, number_text), UNKNOWN, "unknown"]
            continue
        known = Interval(statistics.median(values), min(values), max(values))
        within = min(values) <= seen.value <= max(values)
        row += [interval_text(interval, number_text) for interval in (seen, known)]
        row.append("within" if within else "OUTSIDE")
    return row


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
