"""tokenswarm fit: a profile from recorded sessions.

tokenswarm fit ~/.codex/sessions --out our-team.toml
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tokenswarm.commands.profile import table
from tokenswarm.exit_codes import PASSED
from tokenswarm.measure.amounts import OptionError
from workload import fidelity, figures
from workload.fit import fit
from workload.replay import Replay, Timing
from workload.traces.read import ACCEPTED, read_trace

_SESSIONS = 2_000  # simulated, to hold the profile against the trace; guess
_TRACE_LAWS = "numbers only: no text of the logs is kept, printed or written"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fits, writes the profile and prints how well it reproduces the trace. Raises ValueErrors."""
    options = parser().parse_args(arguments)
    if options.out.suffix != ".toml" or not options.out.parent.is_dir():
        raise OptionError(
            f"--out {str(options.out)!r}: accepted is a .toml file in a folder that exists"
        )
    trace = read_trace(options.logs)
    fitted = fit(trace, options.out.stem)
    options.out.write_text(fitted.toml(), encoding="utf-8")
    sample = fidelity.simulate(fitted.profile, _SESSIONS, seed=1, scripted=True)
    rows = figures.rows(fidelity.replayed(Replay(trace, Timing())).promises, sample)
    turns = sum(len(trace.sessions[root].turns) for root in trace.roots)
    print(
        f"{trace.name} ({trace.format}): {len(trace.roots):,} sessions, {turns:,} turns; "
        f"{_TRACE_LAWS}"
    )
    print(f"target: the trace; realised: {_SESSIONS:,} simulated sessions of the profile\n")
    print(table([row for row in rows if row.source == fidelity.TRACE]))
    for words in fitted.left_out:
        print(f"not in the profile: {words}")
    print(f"profile: {options.out}   more of it: tokenswarm profile --profile {options.out}")
    return PASSED


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokenswarm fit",
        description="Fit a profile to recorded sessions; numbers only, no text leaves the logs.",
    )
    parser.add_argument("logs", type=Path, metavar="LOGS", help=f"file or folder of {ACCEPTED}")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .toml file")
    return parser
