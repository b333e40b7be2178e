"""Count: what the server saw against what the ledgers hold, and whether a run came out right. Pure.

The server writes for each request whose it was (the session's header), a digest of its body, when
it began, when its last bytes were about to be sent, and when they had been. Bodies of a run are all
different, as every turn carries the history and the run's salt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scripts.faults.plan import NOISE, Expected
from tokenswarm.exit_codes import INVALID_RUN, PASSED
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import TurnRecord
from tokenswarm.measure.verdict import INVALID, Verdict

WINDOW_S = 3.0  # a rate is told by so many seconds of turns
STEP_S = 0.5
BAND = 0.25  # of the line: a window holds some 27 turns of very different size (guess)
# Between the last byte at the server and the line in the ledger a client may be killed.
UNDER_WAY_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Request:
    """At the server, in monotonic seconds; None: it did not get that far."""

    session: str
    digest: str
    began_at: float
    last_at: float | None
    sent_at: float | None


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Turns: finished at the server; of these in no ledger (lost), or in none because their client
    was killed in that moment (in_the_air); sent or recorded twice; answered in a ledger but not
    finished at the server (invented)."""

    finished: int
    answered: int
    lost: int
    in_the_air: int
    duplicated: int
    invented: int


def count(
    requests: Iterable[Request],
    files: Sequence[Sequence[TurnRecord]],
    killed_at: float | None,
) -> Counted:
    """files: the records of each ledger; killed_at: when a client was killed. A turn stands in its
    worker's ledger and in its master's."""
    finished, last, late, digests = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for request in requests:
        digests[request.digest] += 1
        last[request.session] += request.last_at is not None
        if request.sent_at is not None:
            finished[request.session] += 1
            if killed_at is not None and abs(killed_at - request.sent_at) < UNDER_WAY_S:
                late[request.session] += 1
    turns = {(r.session, r.turn): r for records in files for r in records if r.sent_at_s}
    answered = Counter(
        session for (session, _), r in turns.items() if r.outcome in ("ok", "cancelled")
    )
    missing = {s: n - answered[s] for s, n in finished.items() if n > answered[s]}
    in_the_air = sum(min(n, late[session]) for session, n in missing.items())
    twice = sum(n - 1 for n in digests.values())
    for records in files:
        twice += len(records) - len({(r.session, r.turn) for r in records})
    return Counted(
        finished=finished.total(),
        answered=answered.total(),
        lost=sum(missing.values()) - in_the_air,
        in_the_air=in_the_air,
        duplicated=twice,
        invented=sum(max(0, n - last[session]) for session, n in answered.items()),
    )


def back_after_s(
    records: Iterable[TurnRecord], tpm: float, struck_s: float, end_s: float
) -> float | None:
    """Seconds from the fault to the end of the first window from which on the tokens sent are on
    the line; None: not before end_s. Windows that begin before the fault do not count."""
    sent = [(r.sent_at_s, r.planned_prompt_tokens) for r in records if r.sent_at_s is not None]
    back = None
    start_s = struck_s
    while start_s + WINDOW_S <= end_s:
        stop_s = start_s + WINDOW_S
        tokens = sum(n for at_s, n in sent if start_s <= at_s < stop_s)
        on_line = abs(tokens * 60 / WINDOW_S / tpm - 1) <= BAND
        back = (stop_s if back is None else back) if on_line else None
        start_s += STEP_S
    return None if back is None else back - struck_s


def wrong(
    expected: Expected, verdict: Verdict, ledger: Ledger, code: int | None, printed: str
) -> list[str]:
    """What of a run's verdict and end is not as it has to be; code: of the master, or of `report`
    where it was killed."""
    found = {check.name: check.grade for check in verdict.checks}
    said = [
        f"{name} is {found.get(name) or 'not checked'}, not {' or '.join(grades)}"
        for name, grades in expected.grades.items()
        if found.get(name) not in grades
    ]
    for name, grade in found.items():
        if grade == INVALID and name not in NOISE and name not in expected.grades:
            said.append(f"{name} is INVALID without a cause")
    right = expected.code
    if right is None or verdict.grade == INVALID and right == PASSED:
        right = INVALID_RUN if verdict.grade == INVALID else PASSED
    if code != right:
        said.append(f"exit code {code}, not {right}")
    if (ledger.ending is not None) is not expected.ends:
        said.append("the ledger ends" if ledger.ending else "the ledger has no end")
    if ledger.ending is not None and ledger.ending.workers != expected.workers:
        said.append(f"{ledger.ending.workers} workers, not {expected.workers}")
    for word in ("Traceback", "terminate called"):
        if word in printed:
            said.append(f"{word!r} is printed")
    return said
