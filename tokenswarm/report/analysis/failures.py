"""Failures: what turns failed of, kind by kind, with what servers and sockets said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tokenswarm.measure.foreign_words import one_line
from tokenswarm.measure.record import TurnRecord

MOST_SAMPLES = 3  # of one kind: a reader wants to know what to look for
MOST_CHARACTERS = 160  # of a sample


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureKind:
    """samples: (text, turns), the commonest first; text is empty where nothing was said."""

    kind: str
    turns: int
    first_at_s: float  # when the first of them was due
    samples: tuple[tuple[str, int], ...]
    unlike: int  # how many other texts there are
    levels: tuple[tuple[int | None, int], ...]  # (sent in, turns) in order; None: outside of one


def failure_kinds(records: Iterable[TurnRecord]) -> list[FailureKind]:
    """Of all records that failed, the commonest kind first."""
    by_kind: dict[str, list[TurnRecord]] = {}
    for record in records:
        if record.failed:
            by_kind.setdefault(record.outcome, []).append(record)
    found = [_kind(kind, turns) for kind, turns in by_kind.items()]
    return sorted(found, key=lambda each: (-each.turns, each.kind))


def _kind(kind: str, turns: list[TurnRecord]) -> FailureKind:
    texts = Counter(one_line(record.detail, MOST_CHARACTERS) for record in turns)
    levels = Counter(record.level for record in turns)
    common = sorted(texts.items(), key=lambda item: (-item[1], item[0]))
    return FailureKind(
        kind=kind,
        turns=len(turns),
        first_at_s=min(record.scheduled_at_s for record in turns),
        samples=tuple(common[:MOST_SAMPLES]),
        unlike=max(0, len(common) - MOST_SAMPLES),
        levels=tuple(sorted(levels.items(), key=lambda item: (item[0] is None, item[0] or 0))),
    )
