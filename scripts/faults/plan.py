"""Plan: which fault is injected into which run, drawn by seed. Pure.

A fault strikes a short run of a master and two or three workers; what its verdict then has to say
stands here, beside the fault. A machine that is busy with other things may add checks of its own
(`NOISE`), and no fault takes one away.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from tokenswarm.exit_codes import FAILED, INVALID_RUN
from tokenswarm.measure.verdict import INVALID, SUSPECT, VALID

LADDER, AGENTS = "tpm_ladder.py", "coding_agents.py"
# What a busy machine makes of a run without any fault.
NOISE = frozenset(
    ("generator lateness", "read lag", "coalesced reads", "hub stalls", "CPU", "first-token stamps")
)
# Seconds of silence after which a worker is certainly lost to Locust (three heartbeats are missed
# by then), and below which it certainly is not: docs/measuring.md 2.4.
LOST_S, KEPT_S = 6.0, 2.5
# Of every level: its ramp, the first turns, and after the fault a lost worker's silence, a window
# of the rate (scripts.faults.count) and some room.
RAMP_S, FIRST_S, TAIL_S = 1.0, 3.0, 12.0
# What a busy machine needs to start a worker: imports of 2 s of CPU, several at once (guess).
JOIN_S = 8.0
CROWD = 8  # workers that join one after the other
CROWD_GAP_S = 1.5
# A process that stood still for longer shows as a stall of its hub (tokenswarm/measure/verdict).
STALL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """kind: a key of KINDS; for_s: how long it lasts, None where it is for ever."""

    seed: int
    kind: str
    file: str  # the locustfile
    workers: int
    after_s: float  # wall seconds after the first turns have ended
    for_s: float | None
    victim: int  # a worker
    apart: bool  # workers keep their ledgers to themselves, as on machines of their own

    @property
    def joins(self) -> int:
        """Workers that come in mid-run."""
        joins = {"replace worker": 1, "late worker": 1, "eight late workers": CROWD}
        return joins.get(self.kind, 0)

    @property
    def hold_s(self) -> float:
        """How long the level has to last for all of it to be seen."""
        joining_s = JOIN_S + CROWD_GAP_S * self.joins if self.joins else 0.0
        fault_s = self.after_s + (self.for_s or 0.0) + joining_s
        return math.ceil(RAMP_S + FIRST_S + fault_s + TAIL_S)

    @property
    def text(self) -> str:
        lasts = "" if self.for_s is None else f" {self.for_s:.1f} s"
        return f"{self.kind}{lasts}"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What has to be true of the run in the end.

    grades: of checks, by name, each one of those; code: the master's exit code, None: that of its
    verdict (4 where that is INVALID, else 0); ends: whether its ledger has a last line;
    back: whether the rate has to come back to the line; workers: that have sent traffic.
    """

    grades: dict[str, tuple[str, ...]]
    workers: int
    code: int | None = None
    ends: bool = True
    back: bool = True


# How often each is drawn.
KINDS = {
    "none": 1,
    "kill worker": 3,
    "kill all workers": 1,
    "replace worker": 2,
    "pause worker": 3,
    "long pause of worker": 1,
    "pause master": 2,
    "cut link": 4,
    "black hole": 3,
    "late worker": 3,
    "eight late workers": 1,
    "SIGTERM to worker": 2,
    "SIGINT to worker": 1,
    "SIGTERM to master": 2,
    "SIGINT to master": 1,
    "kill master": 3,
    "kill server": 2,
    "pause server": 2,
    "full disk of master": 2,
    "full disk of worker": 1,
}
LASTING = {
    "pause worker": (1.2, 8.0),
    "long pause of worker": (18.0, 22.0),
    "pause master": (1.2, 8.0),
    "cut link": (0.1, 8.0),
    "black hole": (0.5, 8.0),
    "pause server": (1.0, 4.0),
}
# Traffic was missing for seconds of a short level; or it was cut short, and on a busy machine its
# workers begin seconds after it.
SHORT_OF_TRAFFIC = (
    *("pause worker", "long pause of worker", "pause master", "cut link", "black hole"),
    *("kill worker", "kill all workers", "replace worker", "kill server"),
    *("SIGTERM to master", "SIGINT to master"),
)
LINKS = ("cut link", "black hole")
MISSING = (INVALID,)
THERE = (VALID,)


def draw(seed: int, kind: str | None = None) -> Fault:
    """The fault of this seed; kind: of no other kind."""
    chance = random.Random(seed)
    drawn = chance.choices(list(KINDS), list(KINDS.values()))[0]
    kind = kind or drawn
    workers = chance.choice((2, 3))
    return Fault(
        seed=seed,
        kind=kind,
        file=chance.choice((LADDER, LADDER, AGENTS)),
        workers=workers,
        after_s=round(chance.uniform(0.5, 3.0), 2),
        for_s=round(chance.uniform(*LASTING[kind]), 2) if kind in LASTING else None,
        victim=chance.randrange(workers),
        apart=chance.random() < 0.5,
    )


def excused(fault: Fault) -> frozenset[str]:
    """Checks that may well say INVALID."""
    if fault.kind == "kill master":
        return NOISE | {"samples"}  # its ledger holds what its workers had reported by then
    return NOISE | {"offered load"} if fault.kind in SHORT_OF_TRAFFIC else NOISE


def expected(fault: Fault) -> Expected:
    kind, n = fault.kind, fault.workers
    if kind in ("kill worker", "SIGTERM to worker", "SIGINT to worker"):
        return Expected(grades={"workers": MISSING}, workers=n, code=INVALID_RUN)
    if kind == "replace worker":
        return Expected(grades={"workers": MISSING}, workers=n + fault.joins, code=INVALID_RUN)
    if kind == "kill all workers":
        return Expected(grades={"workers": MISSING}, workers=n, code=INVALID_RUN, back=False)
    if kind in LINKS:
        return Expected(grades=_of_silence(fault.for_s or 0.0), workers=n)
    if kind in ("pause worker", "long pause of worker", "pause master"):
        return Expected(grades=_of_pause(fault), workers=n)
    if kind in ("late worker", "eight late workers"):
        return Expected(grades={"workers": THERE}, workers=n + fault.joins)
    if kind == "kill master":
        return Expected(grades={"end": (INVALID,)}, workers=n, ends=False, back=False)
    if kind == "kill server":
        failing = {"failures": (SUSPECT, INVALID), "workers": THERE}
        return Expected(grades=failing, workers=n, code=FAILED, back=False)
    if kind == "full disk of master":
        return Expected(
            grades={"end": (INVALID,)}, workers=n, code=INVALID_RUN, ends=False, back=False
        )
    back = kind in ("none", "pause server", "full disk of worker")
    return Expected(grades={"workers": THERE, "end": THERE}, workers=n, back=back)


def _of_silence(for_s: float) -> dict[str, tuple[str, ...]]:
    if for_s >= LOST_S:
        return {"workers": MISSING}
    return {"workers": THERE if for_s <= KEPT_S else (*THERE, *MISSING)}


def _of_pause(fault: Fault) -> dict[str, tuple[str, ...]]:
    assert fault.for_s is not None
    grades: dict[str, tuple[str, ...]] = {}
    if fault.for_s > STALL_S:
        grades["hub stalls"] = (SUSPECT, INVALID)
    if fault.kind != "pause master":
        grades |= _of_silence(fault.for_s)
    else:  # a master that stands still hears nobody, and may give everybody up for it
        grades["workers"] = (*THERE, *MISSING)
    return grades
