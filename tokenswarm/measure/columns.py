"""Columns: the turns of a run as arrays, one row a turn, for arithmetic on a million of them.

Unknown is NaN. Definitions are those of TurnRecord and Summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenswarm.measure.decode import decode_tps
from tokenswarm.measure.record import DECODED_FROM, OUTCOMES, UNSENT, TurnRecord

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]
# ok, cancelled, withheld, unfinished, then the failures.
CUT_OFF = ("unfinished", "first_token_timeout")
CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}


# Columns that are fields of TurnRecord as they stand, and fields that others are made of.
AS_TOLD = (
    "scheduled_at_s",
    "sent_at_s",
    "free_at_s",
    "first_token_at_s",
    "first_visible_at_s",
    "last_token_at_s",
    "ended_at_s",
    "text_tokens",
    "planned_output_tokens",
    "ideal_cached_tokens",
    "output_tokens",
    "output_chunks",
    "first_chunk_tokens",
    "reasoning_tokens",
    "retry_after_s",
    "coalesced_chunks",
    "first_stamp_chunks",
    "first_stamp_tokens",
    "stamp_lag_s",
)
TOLD_BESIDES = (
    "session",
    "kind",
    "planned_prompt_tokens",
    "prompt_tokens",
    "cached_tokens",
    "stamps",
    "outcome",
)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """All arrays have the shape (n_turns,)."""

    session: Codes  # index into `sessions`
    sessions: tuple[str, ...]  # names, in order of appearance
    outcome: Codes  # index into measure.record.OUTCOMES
    answered: Flags  # ok, cancelled or withheld
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
    planned_output_tokens: Floats
    ideal_cached_tokens: Floats
    reported_prompt_tokens: Floats
    prompt_tokens: Floats  # the server's count, the planned one where it gave none
    cached_tokens: Floats  # 0 where a miss is inferred; NaN with or without prompt tokens unknown
    inferred_miss: Flags
    output_tokens: Floats
    output_chunks: Floats
    first_chunk_tokens: Floats
    reasoning_tokens: Floats
    retry_after_s: Floats
    coalesced_chunks: Floats
    first_stamp_chunks: Floats
    first_stamp_tokens: Floats
    stamp_lag_s: Floats

    @classmethod
    def of(cls, records: Sequence[TurnRecord]) -> Columns:
        told = _told(records)
        names: dict[str, int] = {}
        session = [names.setdefault(name, len(names)) for name in told["session"]]
        outcome = np.array([CODES[name] for name in told["outcome"]], dtype=np.int64)
        reported = _column(told["prompt_tokens"])
        cached = np.where(np.isnan(reported), np.nan, _column(told["cached_tokens"]))
        planned = _column(told["planned_prompt_tokens"])
        missed = _inferred_misses(told["cached_tokens"], outcome, reported, cached)
        return cls(
            session=np.array(session, dtype=np.int64),
            sessions=tuple(names),
            outcome=outcome,
            answered=outcome < CODES["unfinished"],
            failed=outcome > CODES["unfinished"],
            sent=np.array([kind != UNSENT for kind in told["kind"]], dtype=bool),
            kernel_stamps=np.array([stamps == "kernel" for stamps in told["stamps"]], dtype=bool),
            planned_prompt_tokens=planned,
            reported_prompt_tokens=reported,
            prompt_tokens=np.where(np.isnan(reported), planned, reported),
            cached_tokens=np.where(missed, 0.0, cached),
            inferred_miss=missed,
            **{name: _column(told[name]) for name in AS_TOLD},
        )

    @property
    def cut_off(self) -> Flags:
        """By the end of the run or by the client's patience: what they waited for takes longer."""
        return np.isin(self.outcome, [CODES[outcome] for outcome in CUT_OFF])

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
    def e2e_s(self) -> Floats:
        """Of ok turns: a cancelled one was cut short by its user."""
        return np.where(self.outcome == CODES["ok"], self.ended_at_s - self.sent_at_s, np.nan)

    @cached_property
    def ttft_censored_s(self) -> Floats:
        """How long a turn that was cut off had waited for its first token; NaN for all others."""
        return self._waited(self.sent_at_s, self.first_token_at_s)

    @cached_property
    def visible_ttft_censored_s(self) -> Floats:
        return self._waited(self.sent_at_s, self.first_visible_at_s)

    @cached_property
    def ttft_from_schedule_censored_s(self) -> Floats:
        """Of tickets that nobody took, too: nobody has answered them yet."""
        return self._waited(self.scheduled_at_s, self.first_token_at_s)

    @cached_property
    def e2e_censored_s(self) -> Floats:
        return np.where(self.cut_off, self.ended_at_s - self.sent_at_s, np.nan)

    @property
    def first_chunk_is_estimated(self) -> Flags:
        estimated: Flags = np.isnan(self.first_stamp_tokens) & np.isnan(self.first_chunk_tokens)
        return estimated

    @cached_property
    def decode_tps(self) -> Floats:
        """NaN for failed turns too."""
        return self._alive(decode_tps(**{name: getattr(self, name) for name in DECODED_FROM}))

    @cached_property
    def lateness_s(self) -> Floats:
        return self.sent_at_s - self.scheduled_at_s

    @cached_property
    def generator_lateness_s(self) -> Floats:
        ready_at_s: Floats = np.maximum(self.scheduled_at_s, self.free_at_s)
        return self.sent_at_s - ready_at_s

    def _waited(self, since_s: Floats, for_s: Floats) -> Floats:
        return np.where(self.cut_off & np.isnan(for_s), self.ended_at_s - since_s, np.nan)

    def _alive(self, values: Floats) -> Floats:
        return np.where(self.failed, np.nan, values)

    def scheduled_in(self, window: tuple[float, float]) -> Codes:
        """Rows of the turns that were due in the window."""
        return _within(self.scheduled_at_s, window)

    def answered_in(self, window: tuple[float, float]) -> Codes:
        """Rows of the turns (ok, cancelled or withheld) whose stream ended in the window."""
        rows = _within(self.ended_at_s, window)
        return rows[self.answered[rows]]


def _column(known: Sequence[float | None]) -> Floats:
    return np.array(known, dtype=np.float64)  # None becomes NaN


def _told(records: Sequence[TurnRecord]) -> dict[str, Sequence[Any]]:
    """What the turns say, by field."""
    return {name: list(map(attrgetter(name), records)) for name in (*AS_TOLD, *TOLD_BESIDES)}


def _inferred_misses(
    told: Sequence[int | None], outcome: Codes, reported: Floats, cached: Floats
) -> Flags:
    """Of a server that reports cached tokens at all, the ok turns that report none. Not the
    cancelled: only the usage at the end of an answer holds cached tokens."""
    if all(tokens is None for tokens in told):
        return np.zeros(len(told), dtype=bool)
    missed: Flags = (outcome == CODES["ok"]) & ~np.isnan(reported) & np.isnan(cached)
    return missed


def _within(at_s: Floats, window: tuple[float, float]) -> Codes:
    start_s, end_s = window
    return np.flatnonzero((start_s <= at_s) & (at_s < end_s))
