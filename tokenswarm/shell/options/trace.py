"""Options of replay and habits: of a run and of the offline engine alike."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from tokenswarm.measure.amounts import OptionError, parse_duration
from workload.habits import HABITS
from workload.replay import PACES, Timing
from workload.traces.read import ACCEPTED

# Name, and what argparse takes.
TRACE_OPTIONS: dict[str, dict[str, Any]] = {
    "--trace": {
        "default": "",
        "metavar": "PATH",
        "help": f"Replay recorded sessions instead of a profile: a file or folder of {ACCEPTED}",
    },
    "--trace-timing": {
        "default": PACES[0],
        "metavar": "NAME",
        "help": "When replayed turns come: think (the trace's pauses after each answer) or "
        "original (at the trace's own times, or after the answer if that is later)",
    },
    "--trace-scale": {
        "type": float,
        "default": 1.0,
        "metavar": "FACTOR",
        "help": "Times of the trace are multiplied by it; 0.5: twice as fast",
    },
    "--trace-idle-cap": {
        "default": "",
        "metavar": "TIME",
        "help": "No pause of the trace counts for more, such as 60s; empty: as recorded",
    },
    "--trace-from-start": {
        "action": "store_true",
        "default": False,
        "help": "Replay every session from its first turn on; else a developer is met in the "
        "middle of the first",
    },
    "--habit": {
        "action": "append",
        "default": [],
        "metavar": "NAME",
        "help": f"What breaks caches, done by all sessions; repeatable: {', '.join(HABITS)}",
    },
}


def trace_path(parsed: argparse.Namespace) -> Path | None:
    return Path(parsed.trace) if parsed.trace else None


def trace_timing(parsed: argparse.Namespace) -> Timing:
    """Raises OptionError."""
    scale, cap, pace = parsed.trace_scale, parsed.trace_idle_cap, parsed.trace_timing
    if not 0 < scale < math.inf:
        raise OptionError(f"--trace-scale {scale}: accepted are numbers above 0; 1: as recorded")
    if pace not in PACES:
        raise OptionError(f"--trace-timing {pace!r}: accepted are {' and '.join(PACES)}")
    return Timing(
        pace=pace,
        scale=scale,
        idle_cap_s=parse_duration("--trace-idle-cap", cap) if cap else None,
        from_start=parsed.trace_from_start,
    )


def require_free_pace(timing: Timing, rate: str) -> None:
    """Raises OptionError where a rate says when turns come, and so should the trace."""
    if timing.pace == "original":
        raise OptionError(
            f"--trace-timing original: {rate} says when turns come; accepted with it: think"
        )
