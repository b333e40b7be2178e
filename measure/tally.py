"""Tally: the turns of a run and what they add up to in a window of time.

Two sets of turns are summed, because demand and supply fall apart once an engine saturates:

* the turns *scheduled* in the window: what was asked, how it ended, how long it took;
* the turns *answered* in it (ok or cancelled, stream ended in the window): what was carried.

A window is half open, start <= t < end, in seconds since the start of the run. Everything here is
independent of the order of the records, so tallies merge exactly.

Cached tokens: vLLM leaves them out of the usage when there are none. Once any turn of the tally
reports some, an ok turn with prompt tokens and no cached tokens is an *inferred miss*: 0 cached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from measure.quantiles import Spread
from measure.record import UNSENT, TurnRecord

SECONDS_PER_MINUTE = 60.0
ANSWERED = ("ok", "cancelled")


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

    # How it ended, of turns scheduled: requests = ok + cancelled + unfinished + all failures.
    requests: int
    ok: int
    cancelled: int
    unfinished: int  # cut off by the end of the run: censored, neither good nor bad
    without_first_token: int  # of the unfinished: their TTFT is censored too
    failures: dict[str, int]  # by kind, only kinds that occurred

    # How long, of turns scheduled. TTFT: of all with a first token that did not fail.
    ttft_s: Spread
    visible_ttft_s: Spread
    ttft_from_schedule_s: Spread  # counts the wait before sending: no coordinated omission
    decode_tps: Spread  # per user; of turns that did not fail
    tpot_s: Spread
    e2e_s: Spread  # of ok turns: a cancelled or unfinished one is cut short
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
    coalesced_share: float | None  # reads with several chunks / output chunks

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def failure_share(self) -> float | None:
        """failed / (ok + cancelled + failed); None when no turn came to an end."""
        return _share(self.failed, self.ok + self.cancelled + self.failed)


class Tally:
    """The records of a run. It holds them all, so that every quantile is exact."""

    def __init__(self, records: Iterable[TurnRecord] = ()) -> None:
        self._records = list(records)

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
        """The turns (ok or cancelled) whose stream ended in the window."""
        start_s, end_s = window
        return [
            r for r in self._records if start_s <= r.ended_at_s < end_s and r.outcome in ANSWERED
        ]

    def _inferred_misses(self, answered: Sequence[TurnRecord]) -> list[TurnRecord]:
        """Of a server that reports cached tokens at all, the ok turns that report none. Not the
        cancelled: only the usage at the end of an answer holds cached tokens."""
        if all(r.cached_tokens is None for r in self._records):
            return []
        return [
            r
            for r in answered
            if r.outcome == "ok" and r.cached_tokens is None and r.prompt_tokens is not None
        ]

    def summary(self, window: tuple[float, float]) -> Summary:
        """Sum up the window (start_s, end_s); every definition stands in `Summary`."""
        start_s, end_s = window
        turns, answered = self.scheduled(window), self.answered(window)
        ends = Counter(r.outcome for r in turns)
        alive = [r for r in turns if not r.failed]
        ok = [r for r in turns if r.outcome == "ok"]
        speeds = [(r, tps) for r in alive if (tps := r.decode_tps) is not None]
        missed = self._inferred_misses(answered)
        hit_share = _hit_share(answered, missed)
        achieved_tpm = _tpm(answered, end_s - start_s)
        cached_tpm = None if hit_share is None or achieved_tpm is None else achieved_tpm * hit_share
        return Summary(
            window=window,
            offered_tpm=_tpm(turns, end_s - start_s),
            achieved_tpm=achieved_tpm,
            cached_tpm=cached_tpm,
            uncached_tpm=_difference(achieved_tpm, cached_tpm),
            requests=len(turns),
            ok=ends["ok"],
            cancelled=ends["cancelled"],
            unfinished=ends["unfinished"],
            without_first_token=sum(
                r.outcome == "unfinished" and r.first_token_at_s is None for r in turns
            ),
            failures=dict(sorted(Counter(r.outcome for r in turns if r.failed).items())),
            ttft_s=Spread.of(r.ttft_s for r in alive),
            visible_ttft_s=Spread.of(r.visible_ttft_s for r in alive),
            ttft_from_schedule_s=Spread.of(r.ttft_from_schedule_s for r in alive),
            decode_tps=Spread.of(tps for _, tps in speeds),
            tpot_s=Spread.of(1 / tps for _, tps in speeds),
            e2e_s=Spread.of(r.e2e_s for r in ok),
            lateness_s=Spread.of(r.lateness_s for r in turns),
            generator_lateness_s=Spread.of(r.generator_lateness_s for r in turns),
            prompt_tokens=Spread.of(prompt_tokens(r) for r in turns if r.kind != UNSENT),
            output_tokens=Spread.of(r.output_tokens for r in ok),
            new_tokens=Spread.of(
                r.planned_prompt_tokens - r.ideal_cached_tokens for r in turns if r.kind != UNSENT
            ),
            hit_share=hit_share,
            inferred_misses=len(missed),
            ideal_hit_share=_share(
                sum(r.ideal_cached_tokens for r in answered),
                sum(r.planned_prompt_tokens for r in answered),
            ),
            token_drift=_drift(turns, attrgetter("planned_prompt_tokens")),
            tokenizer_drift=_drift(turns, attrgetter("text_tokens")),
            estimated_first_chunk_share=_share(
                sum(r.first_chunk_is_estimated for r, _ in speeds), len(speeds)
            ),
            stamp_lag_s=Spread.of(r.stamp_lag_s for r in turns if r.stamps == "kernel"),
            coalesced_share=_share(
                sum(r.coalesced_reads for r in turns), sum(r.output_chunks for r in turns)
            ),
        )


def prompt_tokens(record: TurnRecord) -> int:
    """The server's own count, the planned one where it gave none."""
    if record.prompt_tokens is None:
        return record.planned_prompt_tokens
    return record.prompt_tokens


def _tpm(turns: Sequence[TurnRecord], length_s: float) -> float | None:
    if length_s <= 0:
        return None
    return sum(map(prompt_tokens, turns)) * SECONDS_PER_MINUTE / length_s


def _hit_share(turns: Sequence[TurnRecord], missed: Sequence[TurnRecord]) -> float | None:
    cached, prompt = 0, sum(r.prompt_tokens or 0 for r in missed)
    for record in turns:
        if record.cached_tokens is not None and record.prompt_tokens is not None:
            cached += record.cached_tokens
            prompt += record.prompt_tokens
    return _share(cached, prompt)


def _drift(turns: Sequence[TurnRecord], expected: Callable[[TurnRecord], int]) -> float | None:
    """Reported prompt tokens over the expected ones, less one, of turns that report."""
    reporting = [record for record in turns if record.prompt_tokens is not None]
    share = _share(sum(r.prompt_tokens or 0 for r in reporting), sum(map(expected, reporting)))
    return None if share is None else share - 1


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
