"""Surroundings: what a run was measured on, with and against."""

from __future__ import annotations

import re
import time

from tokenswarm.measure.ledger import Header
from tokenswarm.measure.window import WARM_UP_SHARE
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.notation import UNKNOWN, slo_text, target_text


def command(found: Result) -> list[str]:
    """How the run was started, an option with its value each; empty where its ledger does not
    say."""
    written = found.ledger.header.command
    return re.split(r" (?=--?[a-z])", written) if written else []


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
        ("levels", _levels(found)),
        ("warm-up", f"the first {WARM_UP_SHARE:.0%} of each level, left out of its figures"),
        ("objectives", _objectives(found)),
        ("clock", _clock(header)),
        ("mode", {"tpm": "open: a rate is held", "developers": "closed: developers"}[mark.mode]),
        ("profile", f"{mark.profile} ({mark.profile_hash})"),
        ("seed", str(mark.seed)),
        ("corpus", mark.corpus_hash),
        ("tokenizer", mark.tokenizer),
        ("history", mark.history),
        ("dialect", mark.api if mark.agent == "plain" else f"{mark.api}, as {mark.agent} sends it"),
        ("prompts", _salt(found)),
        ("tokenswarm", mark.version),
        *((f"generator: {name}", text) for name, text in (header.machine or {}).items()),
        ("generator processes", _processes(found)),
    ]


def _lasted(found: Result) -> str:
    end_s = found.whole.window[1]
    return f"{end_s / 60:,.1f} minutes" + (
        " of engine time" if found.ledger.header.engine_seconds else ""
    )


def _levels(found: Result) -> str:
    """How many, and how long each was held."""
    held_s = [
        level.ended_at_s - level.started_at_s
        for level in found.ledger.levels
        if level.ended_at_s is not None
    ]
    if not held_s:
        return f"{len(found.steps)}, none with an end"
    shortest, longest = f"{min(held_s) / 60:.1f}", f"{max(held_s) / 60:.1f}"
    hold = shortest if shortest == longest else f"{shortest} to {longest}"
    return f"{len(found.steps)}, each held {hold} minutes"


def _objectives(found: Result) -> str:
    if found.slos:
        return ", ".join(map(slo_text, found.slos))
    return f"none asked for; {', '.join(map(slo_text, found.objectives))} stands in"


def _clock(header: Header) -> str:
    if header.driven:
        return "driven: engine and generator keep one virtual clock, and no time here is the host's"
    return "wall time" if header.speed == 1 else f"{header.speed:g} engine seconds a second"


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
