"""Columns: the turns of a run as arrays, one row a turn, for arithmetic on a million of them.

Unknown is NaN. Definitions are those of TurnRecord and Summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from measure.record import OUTCOMES, UNSENT, TurnRecord

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]
# ok, cancelled, unfinished, then the failures.
CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """All arrays have the shape (n_turns,)."""

    session: Codes  # index into `sessions`
    sessions: tuple[str, ...]  # names, in order of appearance
    outcome: Codes  # index into measure.record.OUTCOMES
    answered: Flags  # ok or cancelled
    failed: Flags
    sent: Flags  # not one of the tickets that nobody took
    kernel_stamps: Flags
    # when, seconds since the start of the run
    scheduled_at_s: Floats
    sent_at_s: Floats
    free_at_s: Floats
    first_token_at_s: Floats
    first_visible_at_s: Floats
    last_token_at_s: Floats
    ended_at_s: Floats
    # how much
    text_tokens: Floats
    planned_prompt_tokens: Floats
    ideal_cached_tokens: Floats
    reported_prompt_tokens: Floats
    prompt_tokens: Floats  # the server's count, the planned one where it gave none
    cached_tokens: Floats  # 0 where a miss is inferred; NaN with or without prompt tokens unknown
    inferred_miss: Flags
    output_tokens: Floats
    output_chunks: Floats
    first_chunk_tokens: Floats
    coalesced_reads: Floats
    stamp_lag_s: Floats

    @classmethod
    def of(cls, records: Sequence[TurnRecord]) -> Columns:
        names: dict[str, int] = {}
        session = [names.setdefault(r.session, len(names)) for r in records]
        outcome = np.array([CODES[r.outcome] for r in records], dtype=np.int64)
        planned = _column([r.planned_prompt_tokens for r in records])
        reported = _column([r.prompt_tokens for r in records])
        cached = np.where(np.isnan(reported), np.nan, _column([r.cached_tokens for r in records]))
        missed = _inferred_misses(records, outcome, reported, cached)
        return cls(
            session=np.array(session, dtype=np.int64),
            sessions=tuple(names),
            outcome=outcome,
            answered=outcome < CODES["unfinished"],
            failed=outcome > CODES["unfinished"],
            sent=np.array([r.kind != UNSENT for r in records], dtype=bool),
            kernel_stamps=np.array([r.stamps == "kernel" for r in records], dtype=bool),
            scheduled_at_s=_column([r.scheduled_at_s for r in records]),
            sent_at_s=_column([r.sent_at_s for r in records]),
            free_at_s=_column([r.free_at_s for r in records]),
            first_token_at_s=_column([r.first_token_at_s for r in records]),
            first_visible_at_s=_column([r.first_visible_at_s for r in records]),
            last_token_at_s=_column([r.last_token_at_s for r in records]),
            ended_at_s=_column([r.ended_at_s for r in records]),
            text_tokens=_column([r.text_tokens for r in records]),
            planned_prompt_tokens=planned,
            ideal_cached_tokens=_column([r.ideal_cached_tokens for r in records]),
            reported_prompt_tokens=reported,
            prompt_tokens=np.where(np.isnan(reported), planned, reported),
            cached_tokens=np.where(missed, 0.0, cached),
            inferred_miss=missed,
            output_tokens=_column([r.output_tokens for r in records]),
            output_chunks=_column([r.output_chunks for r in records]),
            first_chunk_tokens=_column([r.first_chunk_tokens for r in records]),
            coalesced_reads=_column([r.coalesced_reads for r in records]),
            stamp_lag_s=_column([r.stamp_lag_s for r in records]),
        )

    @cached_property
    def ttft_s(self) -> Floats:
        """NaN for failed turns too."""
        return self._alive(self.first_token_at_s - self.sent_at_s)

    @cached_property
    def visible_ttft_s(self) -> Floats:
        return self._alive(self.first_visible_at_s - self.sent_at_s)

    @cached_property
    def ttft_from_schedule_s(self) -> Floats:
        return self._alive(self.first_token_at_s - self.scheduled_at_s)

    @cached_property
    def ttft_censored_s(self) -> Floats:
        """How long an unfinished turn had waited for its first token; NaN for all others."""
        waiting = ~self.answered & ~self.failed & np.isnan(self.first_token_at_s)
        return np.where(waiting, self.ended_at_s - self.sent_at_s, np.nan)

    @cached_property
    def decode_tps(self) -> Floats:
        """NaN for failed turns too."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            mean = self.output_tokens / self.output_chunks
            first = np.where(np.isnan(self.first_chunk_tokens), mean, self.first_chunk_tokens)
            decoded = self.output_tokens - first
            window_s = self.last_token_at_s - self.first_token_at_s
            known = (window_s != 0) & (self.output_chunks >= 2) & (decoded > 0)
            return self._alive(np.where(known, decoded / window_s, np.nan))

    @cached_property
    def lateness_s(self) -> Floats:
        return self.sent_at_s - self.scheduled_at_s

    @cached_property
    def generator_lateness_s(self) -> Floats:
        ready_at_s: Floats = np.maximum(self.scheduled_at_s, self.free_at_s)
        return self.sent_at_s - ready_at_s

    def _alive(self, values: Floats) -> Floats:
        return np.where(self.failed, np.nan, values)

    def scheduled_in(self, window: tuple[float, float]) -> Codes:
        """Rows of the turns that were due in the window."""
        return _within(self.scheduled_at_s, window)

    def answered_in(self, window: tuple[float, float]) -> Codes:
        """Rows of the turns (ok or cancelled) whose stream ended in the window."""
        rows = _within(self.ended_at_s, window)
        return rows[self.answered[rows]]


def _column(known: Sequence[float | None]) -> Floats:
    return np.array(known, dtype=np.float64)  # None becomes NaN


def _inferred_misses(
    records: Sequence[TurnRecord], outcome: Codes, reported: Floats, cached: Floats
) -> Flags:
    """Of a server that reports cached tokens at all, the ok turns that report none. Not the
    cancelled: only the usage at the end of an answer holds cached tokens."""
    if all(r.cached_tokens is None for r in records):
        return np.zeros(len(records), dtype=bool)
    missed: Flags = (outcome == CODES["ok"]) & ~np.isnan(reported) & np.isnan(cached)
    return missed


def _within(at_s: Floats, window: tuple[float, float]) -> Codes:
    start_s, end_s = window
    return np.flatnonzero((start_s <= at_s) & (at_s < end_s))
