"""Surroundings: what a run was measured on, with and against."""

from __future__ import annotations

import time

from tokenswarm.report.analysis.result import Result
from tokenswarm.report.notation import UNKNOWN, target_text


def surroundings(found: Result) -> list[tuple[str, str]]:
    """(what, value): target, workload, time, generator."""
    header = found.ledger.header
    mark, target = header.fingerprint, header.target
    return [
        ("target", target_text(header)),
        ("address", target.url),
        ("model", target.model),
        ("GPUs", UNKNOWN if target.gpus is None else str(target.gpus)),
        ("run", header.run),
        ("began", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(header.started_at))),
        ("lasted", _lasted(found)),
        ("speed", _speed(header.speed)),
        ("mode", {"tpm": "open: a rate is held", "developers": "closed: developers"}[mark.mode]),
        ("profile", f"{mark.profile} ({mark.profile_hash})"),
        ("seed", str(mark.seed)),
        ("corpus", mark.corpus_hash),
        ("tokenizer", mark.tokenizer),
        ("history", mark.history),
        ("prompts", _salt(found)),
        ("tokenswarm", mark.version),
        *((f"generator: {name}", text) for name, text in (header.machine or {}).items()),
        ("generator processes", _processes(found)),
    ]


def _lasted(found: Result) -> str:
    end_s = found.whole.window[1]
    return f"{end_s / 60:,.1f} minutes" + (
        "" if found.ledger.header.speed == 1 else " of engine time"
    )


def _speed(speed: float) -> str:
    return "wall time" if speed == 1 else f"{speed:g} engine seconds a second"


def _salt(found: Result) -> str:
    ending = found.ledger.ending
    if ending is None:
        return UNKNOWN
    return "salted: no hits from an earlier run" if ending.salted else "not salted (--warm)"


def _processes(found: Result) -> str:
    ending = found.ledger.ending
    if ending is None:
        return UNKNOWN
    return "one" if ending.workers is None else f"a master and {ending.workers} workers"
