"""Tally: the turns of a run and what they add up to in a window of time.

Two sets of turns are summed, because demand and supply fall apart once an engine saturates:

* the turns *scheduled* in the window: what was asked, how it ended, how long it took;
* the turns *answered* in it (ok, cancelled or withheld; stream ended in it): what was achieved.

A window is half open, start <= t < end, in seconds since the start of the run. Everything here is
independent of the order of the records, so tallies merge exactly.

Cached tokens: vLLM leaves them out of the usage when there are none. Once any turn of the tally
reports some, an ok turn with prompt tokens and no cached tokens is an *inferred miss*: 0 cached.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tokenswarm.measure.columns import CODES, Codes, Columns, Floats
from tokenswarm.measure.quantiles import Spread
from tokenswarm.measure.record import FAILURE_KINDS, OUTCOMES, TurnRecord

SECONDS_PER_MINUTE = 60.0
ANSWERED = ("ok", "cancelled", "withheld")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a window adds up to. Shares are 0 to 1, rates tokens per minute; None is unknown.

    `prompt tokens` of a turn are the server's own count, the planned one where it gave none.
    """

    window: tuple[float, float]  # start_s, end_s

    # How much. None for a window without length.
    offered_tpm: float | None  # prompt tokens of turns scheduled, however they ended
    achieved_tpm: float | None  # prompt tokens of turns answered
    cached_tpm: float | None  # achieved_tpm * hit_share
    uncached_tpm: float | None  # achieved_tpm - cached_tpm
    # Output tokens per second of turns answered, of all users together; of turns whose count the
    # server gave. None where it gave none.
    output_tps: float | None

    # How it ended, of turns scheduled:
    # requests = ok + cancelled + withheld + unfinished + all failures.
    requests: int
    ok: int
    cancelled: int
    withheld: int  # complete, its tokens counted and not sent
    unfinished: int  # cut off by the end of the run: censored, neither good nor bad
    without_first_token: int  # of the unfinished: their TTFT is censored too
    failures: dict[str, int]  # by kind, only kinds that occurred
    told_to_wait: int  # answers that asked to stay away for a while (Retry-After)

    # How long, of turns scheduled that did not fail. What a turn was still waiting for when it was
    # cut off is censored: it counts as longer than the wait (measure.columns, measure.quantiles).
    ttft_s: Spread
    visible_ttft_s: Spread
    ttft_from_schedule_s: Spread  # counts the wait before sending: no coordinated omission
    decode_tps: Spread  # per user; of turns that did not fail
    tpot_s: Spread
    e2e_s: Spread  # of ok turns, the unfinished censored: a cancelled one is cut short
    lateness_s: Spread  # of turns sent, failed ones too
    generator_lateness_s: Spread  # the part of it that no engine causes; of turns sent

    # Fidelity of the workload.
    prompt_tokens: Spread  # of turns scheduled
    output_tokens: Spread  # of ok turns scheduled, where the server reports usage
    new_tokens: Spread  # of turns scheduled: planned prompt - ideal cached tokens
    # Cached / prompt tokens of turns answered that report both, or are inferred misses.
    hit_share: float | None
    inferred_misses: int  # of turns answered; with 0 cached tokens in hit_share and cached_tpm
    ideal_hit_share: float | None  # ideal cached / planned prompt tokens of turns answered
    token_drift: float | None  # reported / planned prompt tokens - 1, of turns that report
    tokenizer_drift: float | None  # reported / text tokens - 1: before the run corrects for it

    # How well it was seen.
    estimated_first_chunk_share: float | None  # of the turns in decode_tps
    stamp_lag_s: Spread  # of turns with kernel stamps: under "clock" the lag is unknown
    coalesced_share: float | None  # output chunks with the stamp of the one before / all

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def failure_share(self) -> float | None:
        """failed / (ok + cancelled + withheld + failed); None when no turn came to an end."""
        return _share(self.failed, self.ok + self.cancelled + self.withheld + self.failed)


class Tally:
    """The records of a run. It holds them all, so that every quantile is exact."""

    def __init__(self, records: Iterable[TurnRecord] = ()) -> None:
        self._records = list(records)
        self._columns: Columns | None = None  # of the records so far

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: TurnRecord) -> None:
        self._records.append(record)

    def merge(self, other: Tally) -> None:
        """Take in the other's records; the caller sees to it that none is counted twice."""
        self._records.extend(other._records)

    def scheduled(self, window: tuple[float, float]) -> list[TurnRecord]:
        """The turns that were due in the window."""
        start_s, end_s = window
        return [r for r in self._records if start_s <= r.scheduled_at_s < end_s]

    def answered(self, window: tuple[float, float]) -> list[TurnRecord]:
        """The turns (ok, cancelled or withheld) whose stream ended in the window."""
        start_s, end_s = window
        return [
            r for r in self._records if start_s <= r.ended_at_s < end_s and r.outcome in ANSWERED
        ]

    def summary(self, window: tuple[float, float]) -> Summary:
        """Sum up the window (start_s, end_s); every definition stands in `Summary`."""
        return summary(self.columns, [window])

    @property
    def columns(self) -> Columns:
        if self._columns is None or len(self._columns.outcome) != len(self._records):
            self._columns = Columns.of(self._records)
        return self._columns


def summary(of: Columns, windows: Sequence[tuple[float, float]]) -> Summary:
    """Sum up windows that do not overlap as if they were one; `Summary.window` is from the start
    of the first to the end of the last."""
    turns = np.concatenate([of.scheduled_in(window) for window in windows])
    answered = np.concatenate([of.answered_in(window) for window in windows])
    length_s = sum(end_s - start_s for start_s, end_s in windows)
    ok = turns[of.outcome[turns] == CODES["ok"]]
    sent = turns[of.sent[turns]]
    tps = of.decode_tps[turns]
    hit_share = _hit_share(of, answered)
    achieved_tpm = _tpm(of, answered, length_s)
    cached_tpm = None if hit_share is None or achieved_tpm is None else achieved_tpm * hit_share
    ends = dict(zip(OUTCOMES, np.bincount(of.outcome[turns], minlength=len(OUTCOMES)), strict=True))
    timed = turns[~np.isnan(tps)]
    told = turns[~np.isnan(of.coalesced_chunks[turns])]  # not by an earlier version
    return Summary(
        window=(windows[0][0], windows[-1][1]),
        offered_tpm=_tpm(of, turns, length_s),
        achieved_tpm=achieved_tpm,
        cached_tpm=cached_tpm,
        uncached_tpm=_difference(achieved_tpm, cached_tpm),
        output_tps=_output_tps(of, answered, length_s),
        requests=len(turns),
        ok=int(ends["ok"]),
        cancelled=int(ends["cancelled"]),
        withheld=int(ends["withheld"]),
        unfinished=int(ends["unfinished"]),
        without_first_token=int(
            np.sum(
                (of.outcome[turns] == CODES["unfinished"]) & np.isnan(of.first_token_at_s[turns])
            )
        ),
        failures={kind: int(ends[kind]) for kind in sorted(FAILURE_KINDS) if ends[kind]},
        told_to_wait=int(np.sum(of.retry_after_s[turns] > 0)),
        ttft_s=Spread.of_censored(of.ttft_s[turns], of.ttft_censored_s[turns]),
        visible_ttft_s=Spread.of_censored(
            of.visible_ttft_s[turns], of.visible_ttft_censored_s[turns]
        ),
        ttft_from_schedule_s=Spread.of_censored(
            of.ttft_from_schedule_s[turns], of.ttft_from_schedule_censored_s[turns]
        ),
        decode_tps=Spread.of_known(tps),
        tpot_s=Spread.of_known(1 / tps),
        e2e_s=Spread.of_censored(of.e2e_s[turns], of.e2e_censored_s[turns]),
        lateness_s=Spread.of_known(of.lateness_s[turns]),
        generator_lateness_s=Spread.of_known(of.generator_lateness_s[turns]),
        prompt_tokens=Spread.of_known(of.prompt_tokens[sent]),
        output_tokens=Spread.of_known(of.output_tokens[ok]),
        new_tokens=Spread.of_known(of.planned_prompt_tokens[sent] - of.ideal_cached_tokens[sent]),
        hit_share=hit_share,
        inferred_misses=int(of.inferred_miss[answered].sum()),
        ideal_hit_share=_share(
            of.ideal_cached_tokens[answered].sum(), of.planned_prompt_tokens[answered].sum()
        ),
        token_drift=_drift(of, turns, of.planned_prompt_tokens),
        tokenizer_drift=_drift(of, turns, of.text_tokens),
        estimated_first_chunk_share=_share(of.first_chunk_is_estimated[timed].sum(), len(timed)),
        stamp_lag_s=Spread.of_known(of.stamp_lag_s[turns[of.kernel_stamps[turns]]]),
        coalesced_share=_share(of.coalesced_chunks[told].sum(), of.output_chunks[told].sum()),
    )


def prompt_tokens(record: TurnRecord) -> int:
    """The server's own count, the planned one where it gave none."""
    if record.prompt_tokens is None:
        return record.planned_prompt_tokens
    return record.prompt_tokens


def _tpm(of: Columns, turns: Codes, length_s: float) -> float | None:
    if length_s <= 0:
        return None
    return float(of.prompt_tokens[turns].sum() * SECONDS_PER_MINUTE / length_s)


def _output_tps(of: Columns, answered: Codes, length_s: float) -> float | None:
    tokens = of.output_tokens[answered]
    known = tokens[~np.isnan(tokens)]
    return float(known.sum() / length_s) if length_s > 0 and len(known) else None


def _hit_share(of: Columns, turns: Codes) -> float | None:
    counted = turns[~np.isnan(of.cached_tokens[turns])]
    return _share(of.cached_tokens[counted].sum(), of.reported_prompt_tokens[counted].sum())


def _drift(of: Columns, turns: Codes, expected: Floats) -> float | None:
    """Reported prompt tokens over the expected ones, less one, of turns that report."""
    reporting = turns[~np.isnan(of.reported_prompt_tokens[turns])]
    share = _share(of.reported_prompt_tokens[reporting].sum(), expected[reporting].sum())
    return None if share is None else share - 1


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _share(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None
