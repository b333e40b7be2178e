"""Columns: the turns of a run as arrays, one row a turn, for arithmetic on a million of them.

Unknown is NaN. Definitions are those of TurnRecord and Summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from measure.record import UNSENT, TurnRecord
from measure.tally import ANSWERED

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """All arrays have the shape (n_turns,)."""

    session: Codes  # index into `sessions`
    sessions: tuple[str, ...]  # names, in order of appearance
    scheduled_at_s: Floats
    ended_at_s: Floats
    prompt_tokens: Floats  # the server's count, the planned one where it gave none
    cached_tokens: Floats  # 0 where a miss is inferred; NaN with or without prompt tokens unknown
    answered: Flags  # ok or cancelled
    failed: Flags
    sent: Flags
    ttft_s: Floats  # NaN for failed turns too
    ttft_censored_s: Floats  # how long an unfinished turn had waited for its first token
    decode_tps: Floats  # NaN for failed turns too

    @classmethod
    def of(cls, records: Sequence[TurnRecord]) -> Columns:
        names: dict[str, int] = {}
        codes = [names.setdefault(r.session, len(names)) for r in records]
        failed = np.array([r.failed for r in records], dtype=bool)
        alive = ~failed
        first_at_s = _column([r.first_token_at_s for r in records])
        sent_at_s = _column([r.sent_at_s for r in records])
        ended_at_s = _column([r.ended_at_s for r in records])
        unfinished = np.array([r.outcome == "unfinished" for r in records], dtype=bool)
        waiting = unfinished & np.isnan(first_at_s)
        return cls(
            session=np.array(codes, dtype=np.int64),
            sessions=tuple(names),
            scheduled_at_s=_column([r.scheduled_at_s for r in records]),
            ended_at_s=ended_at_s,
            prompt_tokens=_column(
                [
                    r.planned_prompt_tokens if r.prompt_tokens is None else r.prompt_tokens
                    for r in records
                ]
            ),
            cached_tokens=_cached_tokens(records),
            answered=np.array([r.outcome in ANSWERED for r in records], dtype=bool),
            failed=failed,
            sent=np.array([r.kind != UNSENT for r in records], dtype=bool),
            ttft_s=np.where(alive, first_at_s - sent_at_s, np.nan),
            ttft_censored_s=np.where(waiting, ended_at_s - sent_at_s, np.nan),
            decode_tps=np.where(alive, _column([r.decode_tps for r in records]), np.nan),
        )

    def scheduled_in(self, window: tuple[float, float]) -> Codes:
        """Rows of the turns that were due in the window."""
        return _within(self.scheduled_at_s, window)

    def answered_in(self, window: tuple[float, float]) -> Codes:
        """Rows of the turns (ok or cancelled) whose stream ended in the window."""
        rows = _within(self.ended_at_s, window)
        return rows[self.answered[rows]]


def _column(known: Sequence[float | None]) -> Floats:
    return np.array(known, dtype=np.float64)  # None becomes NaN


def _cached_tokens(records: Sequence[TurnRecord]) -> Floats:
    """As the server reports them, with the inferred misses of measure.tally."""
    known = np.array([r.prompt_tokens is not None for r in records], dtype=bool)
    cached = np.where(known, _column([r.cached_tokens for r in records]), np.nan)
    if any(r.cached_tokens is not None for r in records):
        ok = np.array([r.outcome == "ok" for r in records], dtype=bool)
        cached[ok & known & np.isnan(cached)] = 0.0
    return cached


def _within(at_s: Floats, window: tuple[float, float]) -> Codes:
    start_s, end_s = window
    return np.flatnonzero((start_s <= at_s) & (at_s < end_s))
