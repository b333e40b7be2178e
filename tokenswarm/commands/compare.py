"""tokenswarm compare A B ...: engines side by side, as a table and as a picture.

    tokenswarm compare runs/trtllm runs/sglang --at 2.5M --plot both.png

The first run is what the others are held against. Each may be a folder of several runs, the rounds
of an alternation (tokenswarm/commands/turns.py): they are pooled. Exit codes: 0 fine, 2 bad input,
among it runs that did not send the same workload.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from tabulate import tabulate

from tokenswarm.measure.amounts import parse_tpm
from tokenswarm.measure.quantiles import claimable
from tokenswarm.report.analysis.change import Change
from tokenswarm.report.analysis.compare import Comparison, StoredRun, compare, load_text
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.point import CurvePoint
from tokenswarm.report.analysis.rounds import open_runs
from tokenswarm.report.notation import (
    TOO_FEW,
    UNKNOWN,
    interval_text,
    number_text,
    target_text,
    tpm_text,
)
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text.levels import WIDTH

COLUMNS = ("engine", "GPUs", "TTFT p50, s", "TPS p50", "TPM per\nGPU", "achieved\nTPM", "run")
CHANGES = ("TTFT p50", "TTFT p90", "TPS p50")


def main(arguments: Sequence[str]) -> int:
    """Raises ValueError or OSError for bad input."""
    options = _parser().parse_args(arguments)
    at = None if options.at is None else parse_tpm("--at", options.at)
    if len(options.runs) < 2:
        raise ValueError(f"compare {options.runs[0]}: accepted are two runs or more")
    runs, left_out = open_runs(options.runs)
    found = compare(runs, at)
    print("\n".join([text(found), *left_out]))
    if options.plot:
        _plot(options.plot, found)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokenswarm compare", description="Runs of one workload side by side."
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN",
        help="directory or ledger of a run; a folder of several, or A1,A2: rounds to be pooled",
    )  # fmt: skip
    parser.add_argument("--at", metavar="TPM", help="level of the headline: 2.5M; or developers")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="FILE.png or FILE.svg")
    return parser


def _plot(path: Path, found: Comparison) -> None:
    from tokenswarm.report.figures.overlay import overlay  # matplotlib takes a second to load

    overlay(path, found)
    print(f"\nplot: {path}")


def text(found: Comparison) -> str:
    """Headline table at the chosen level, then the changes at every level."""
    mode = found.runs[0].header.fingerprint.mode
    parts = [
        f"At {load_text(found.chosen.asked, mode)}",
        headline(found),
        _changes(found, mode),
        "\n".join(fill(note, WIDTH) for note in _notes(found)),
    ]
    return "\n\n".join(parts)


def headline(found: Comparison) -> str:
    """The table of the published study: engine, GPUs, TTFT, TPS and TPM per GPU at one load."""
    rows = [_row(run, at) for run, at in zip(found.runs, found.chosen.points, strict=True)]
    return tabulate(rows, COLUMNS, disable_numparse=True, colalign=("left", *["right"] * 5, "left"))


def _row(run: StoredRun, at: CurvePoint) -> list[str]:
    gpus = run.header.target.gpus
    offered_tpm = at.summary.offered_tpm
    per_gpu = None if gpus is None or offered_tpm is None else offered_tpm / gpus
    return [
        f"{run.name}{' (simulated)' if run.header.target.simulated else ''}",
        UNKNOWN if gpus is None else str(gpus),
        _figure(at.ttft_p50_s, at.summary.ttft_s.count),
        _figure(at.decode_tps_p50, at.summary.decode_tps.count),
        tpm_text(per_gpu),
        tpm_text(at.summary.achieved_tpm),
        str(run.path),
    ]


def _figure(interval: Interval, turns: int) -> str:
    return interval_text(interval, number_text) + ("" if claimable(0.5, turns) else TOO_FEW)


def _changes(found: Comparison, mode: str) -> str:
    """Each run against the first, level by level."""
    rows = [
        [load_text(rung.asked, mode), name, *map(change_text, changes)]
        for rung in found.rungs
        for name, changes in zip(found.names[1:], rung.changes, strict=True)
    ]
    title = f"Against {found.runs[0].name} ({found.runs[0].path}), as a factor:"
    table = tabulate(rows, ["level", "engine", *CHANGES], disable_numparse=True)
    return f"{title}\n{table}"


def change_text(change: Change) -> str:
    """x1.55 (1.40 to 1.71); in brackets where it is inside the noise."""
    if change.by.value is None:
        return UNKNOWN
    shown = "x" + interval_text(change.by, number_text)
    return shown if change.seen else f"[{shown}]"


def _notes(found: Comparison) -> list[str]:
    shared = ", ".join(
        f"{count:,} with {name}"
        for count, name in zip(found.shared_sessions, found.names[1:], strict=True)
    )
    notes = [
        "In brackets behind a figure: its 95% interval. [Factors] are inside the noise.",
        f"Paired by session: {found.names[0]} shares {shared}.",
        *_overloaded(found),
    ]
    for run in found.runs:
        notes.append(f"{run.path}: {_rounds(run)}{target_text(run.header)}")
        if run.verdict is not None:
            notes.append(f"{run.path}: {verdict_text.short(run.verdict)}.")
    return notes


def _rounds(run: StoredRun) -> str:
    if not run.rounds:
        return ""
    count = "1 round" if len(run.rounds) == 1 else f"{len(run.rounds)} rounds"
    return f"{count} pooled ({', '.join(run.rounds)}); "


def _overloaded(found: Comparison) -> list[str]:
    behind = [name for run, name in enumerate(found.names) if not found.chosen.kept_up(run)]
    if not behind:
        return []
    return [f"Not kept up with at this level: {', '.join(behind)}. TTFT there grows with time."]
