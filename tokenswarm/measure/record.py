"""TurnRecord: what one turn was meant to be and what was seen of it. The one value of the tool.

All times are seconds as float. `*_at_s` are seconds since the start of the run, `*_s` are
durations. Against the embedded engine at speed S, both are engine seconds (wall seconds x S,
converted once where the client's stamps become a record). All sizes are tokens.
None means unknown, never 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tokenswarm.measure.decode import decode_tps

# How a turn can end. `ok` and `cancelled` (a planned user interrupt) are not failures, nor is
# `withheld`: a complete answer whose tokens the server counted and did not send, as vLLM's tool
# parsers do with a call that max_tokens cut short.
# `unfinished` is a turn that was cut off by the end of the run: censored, neither good nor bad.
FAILURE_KINDS = (
    "connect",  # refused, unreachable, name not found, reset before the answer began
    "connect_timeout",
    "tls",  # handshake or certificate
    "first_token_timeout",  # request sent, no output chunk in time
    "stall_timeout",  # output began, then nothing for too long
    "truncated",  # closed before finish_reason, [DONE] or the last HTTP chunk
    "malformed",  # not HTTP, not SSE, not JSON
    "empty",  # a complete answer without any output
    "stream_error",  # an error object inside a 200 stream, or a finish_reason that gives up
    "endless",  # output went on far beyond max_tokens
    "context_overflow",  # 400 that says the prompt is too long
    "http_401",  # 401 and 403
    "http_404",
    "http_429",
    "http_4xx",  # every other 4xx, and 3xx: no redirect is followed
    "http_5xx",
)
# A developer that is told to stay away for longer comes back after this many wall seconds, unless
# --max-retry-after says otherwise: the traffic of a run is not for a server to end (guess).
MAX_RETRY_AFTER_S = 120.0
# The kind of a ticket that no session took: due, never sent, its size the mean of the workload.
UNSENT = "unsent"
# What the speed of a turn is worked out from.
DECODED_FROM = (
    *("output_tokens", "output_chunks", "first_token_at_s", "last_token_at_s"),
    *("first_visible_at_s", "reasoning_tokens"),
    *("first_chunk_tokens", "first_stamp_chunks", "first_stamp_tokens"),
)
OUTCOMES = ("ok", "cancelled", "withheld", "unfinished", *FAILURE_KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """One turn: `planned_*` and `ideal_*` come from the workload, the rest from the wire."""

    # which turn
    session: str  # unique in the run: "w0.u3.s1", sub-agents "w0.u3.s1.a2"
    turn: int  # 0-based in the session
    kind: str  # what triggered it: "start", "met", "tool", "user", "compaction"; or UNSENT
    level: int | None  # index of the traffic level it was scheduled in
    # what was planned
    text_tokens: int  # of the prompt, counted with the run's tokenizer
    planned_prompt_tokens: int  # what the server should count: text_tokens x the drift so far
    planned_output_tokens: int  # asked for with max_tokens
    ideal_cached_tokens: int  # prefix an endless cache would hold
    body_bytes: int
    # when
    scheduled_at_s: float  # when the turn was due
    sent_at_s: float | None  # just before its first byte; None: never got that far
    body_sent_at_s: float | None
    head_at_s: float | None  # response head complete
    first_token_at_s: float | None  # first chunk with content, reasoning or a tool-call delta
    first_visible_at_s: float | None  # first chunk with content or a tool-call delta
    last_token_at_s: float | None  # last chunk with output; not the usage chunk
    ended_at_s: float  # stream complete, or the moment of the failure
    # how much
    prompt_tokens: int | None  # the server's usage
    cached_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    output_chunks: int  # chunks with output
    first_chunk_tokens: int | None  # only where the server reports tokens per chunk
    chunk_gaps_s: tuple[float, ...] = ()  # raw gaps between output chunks
    # how well it was seen
    stamps: str  # "kernel" or "clock"
    stamp_lag_s: float  # largest (clock - kernel) of this turn; 0.0 under "clock"
    coalesced_reads: int  # reads that held more than one output chunk
    # how it ended
    outcome: str  # one of OUTCOMES
    status: int | None  # HTTP status
    detail: str = ""  # short, for people; never a label
    finish_reason: str | None = None
    retry_after_s: float | None = None
    # None: written by an earlier version, or never taken by a developer
    free_at_s: float | None = None  # when a developer was free to send it
    early_s: float | None = None  # by how much a ticket called it before its own pause was over
    # None: written by an earlier version, or never sent
    cache_written_tokens: int | None = None  # of the prompt, kept from now on; the server's usage
    coalesced_chunks: int | None = None  # output chunks with the stamp of the one before
    first_stamp_chunks: int | None = None  # output chunks with the stamp of the first
    first_stamp_tokens: int | None = None  # in these; only where the server reports them
    replica: str | None = None  # that answered, by the X-Replica of the answer

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"outcome {self.outcome!r} is not one of {', '.join(OUTCOMES)}")

    @classmethod
    def unsent(
        cls, session: str, scheduled_at_s: float, given_up_at_s: float, prompt_tokens: int
    ) -> TurnRecord:
        """A turn that was due and never sent: it was offered all the same. session: a name of its
        own; prompt_tokens: a mean prompt of the workload, as nobody knows the real one's."""
        return cls(
            session=session,
            turn=0,
            kind=UNSENT,
            level=None,
            text_tokens=prompt_tokens,
            planned_prompt_tokens=prompt_tokens,
            planned_output_tokens=0,
            ideal_cached_tokens=0,
            body_bytes=0,
            scheduled_at_s=scheduled_at_s,
            sent_at_s=None,
            body_sent_at_s=None,
            head_at_s=None,
            first_token_at_s=None,
            first_visible_at_s=None,
            last_token_at_s=None,
            ended_at_s=given_up_at_s,
            prompt_tokens=None,
            cached_tokens=None,
            output_tokens=None,
            reasoning_tokens=None,
            output_chunks=0,
            first_chunk_tokens=None,
            stamps="clock",
            stamp_lag_s=0.0,
            coalesced_reads=0,
            outcome="unfinished",
            status=None,
            detail="no developer was free to send it",
        )

    @property
    def failed(self) -> bool:
        return self.outcome in FAILURE_KINDS

    @property
    def lateness_s(self) -> float | None:
        """sent_at - scheduled_at."""
        return None if self.sent_at_s is None else self.sent_at_s - self.scheduled_at_s

    @property
    def generator_lateness_s(self) -> float | None:
        """sent_at - max(scheduled_at, free_at): what the generator adds by itself, where
        `lateness_s` also counts the wait for a developer, which a slow engine causes."""
        if self.sent_at_s is None or self.free_at_s is None:
            return None
        return self.sent_at_s - max(self.scheduled_at_s, self.free_at_s)

    @property
    def ttft_s(self) -> float | None:
        """Time to first token: first_token_at - sent_at."""
        return _span(self.sent_at_s, self.first_token_at_s)

    @property
    def ttft_from_schedule_s(self) -> float | None:
        """first_token_at - scheduled_at: free of coordinated omission."""
        return _span(self.scheduled_at_s, self.first_token_at_s)

    @property
    def visible_ttft_s(self) -> float | None:
        """Time to the first chunk a person would see: first_visible_at - sent_at."""
        return _span(self.sent_at_s, self.first_visible_at_s)

    @property
    def e2e_s(self) -> float | None:
        """ended_at - sent_at."""
        return _span(self.sent_at_s, self.ended_at_s)

    @property
    def first_chunk_is_estimated(self) -> bool:
        """True where the server did not say how many tokens came with the first stamp."""
        return self.first_stamp_tokens is None and self.first_chunk_tokens is None

    @property
    def decode_tps(self) -> float | None:
        """Decode speed of one user, tokens per second (measure.decode); None where unknown."""
        told = {name: np.nan if value is None else value for name, value in self._decoding()}
        tps = float(decode_tps(**told))
        return None if np.isnan(tps) else tps

    def _decoding(self) -> Iterator[tuple[str, float | None]]:
        return ((name, getattr(self, name)) for name in DECODED_FROM)

    @property
    def tpot_s(self) -> float | None:
        """Time per output token: 1 / decode_tps."""
        tps = self.decode_tps
        return None if tps is None else 1 / tps

    @property
    def hit_share(self) -> float | None:
        """cached_tokens / prompt_tokens as the server reports them."""
        if self.cached_tokens is None or not self.prompt_tokens:
            return None
        return self.cached_tokens / self.prompt_tokens


def _span(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else end_s - start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One stretch of constant offered traffic.

    index: 0-based; target_tpm: input tokens per minute asked for (None in closed mode);
    developers: users asked for; ended_at_s: None while it lasts; ramp_s: from its start until the
    target is reached (0 in ledgers of earlier versions).
    """

    index: int
    target_tpm: float | None
    developers: int | None
    started_at_s: float
    ended_at_s: float | None = None
    ramp_s: float = 0.0
