"""Observation: what was seen of one request on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from tokenswarm.measure.record import OUTCOMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was seen of one request. Times are seconds of `time.monotonic()`; sizes are tokens;
    None is unknown. The fields mean what `measure.record.TurnRecord` says of them. Where `stamps`
    is "engine", first_token_at, first_visible_at and last_token_at are seconds of its clock."""

    # when
    sent_at: float | None = None
    body_sent_at: float | None = None
    head_at: float | None = None
    first_token_at: float | None = None
    first_visible_at: float | None = None
    last_token_at: float | None = None
    ended_at: float
    # how much
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    cache_written_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    output_chunks: int = 0
    first_chunk_tokens: int | None = None
    chunk_gaps_s: tuple[float, ...] = ()
    # how well it was seen
    stamps: str = "clock"  # "kernel", "engine": where every output chunk has such a stamp
    stamp_lag_s: float = 0.0
    coalesced_reads: int = 0
    coalesced_chunks: int = 0
    first_stamp_chunks: int = 0
    first_stamp_tokens: int | None = None
    # how it ended
    outcome: str  # one of measure.record.OUTCOMES
    status: int | None = None
    detail: str = ""
    finish_reason: str | None = None
    retry_after_s: float | None = None
    # about the other end
    replica: str | None = None  # as X-Replica names it
    sim_speed: float | None = None  # x-sim-speed: the embedded engine's time compression
    new_connection: bool = False  # connecting comes before sent_at and is not part of TTFT

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"outcome {self.outcome!r} is not one of {', '.join(OUTCOMES)}")
