"""Turn records for tests: one of known values, and hypothesis strategies for any."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tokenswarm.measure.ending import Ending
from tokenswarm.measure.fingerprint import Fingerprint
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger import Header, Target
from tokenswarm.measure.record import OUTCOMES, Level, TurnRecord


def turn_record(**changes: Any) -> TurnRecord:
    """An ok turn due and sent at 10 s: first token 1 s later, then 99 tokens in 2 s."""
    values: dict[str, Any] = dict(
        session="w0.u0.s0",
        turn=0,
        kind="tool",
        level=0,
        text_tokens=1000,
        planned_prompt_tokens=1000,
        planned_output_tokens=100,
        ideal_cached_tokens=900,
        body_bytes=4000,
        scheduled_at_s=10.0,
        sent_at_s=10.0,
        free_at_s=5.0,
        body_sent_at_s=10.001,
        head_at_s=10.5,
        first_token_at_s=11.0,
        first_visible_at_s=11.0,
        last_token_at_s=13.0,
        ended_at_s=13.0,
        prompt_tokens=1000,
        cached_tokens=800,
        output_tokens=100,
        reasoning_tokens=0,
        output_chunks=100,
        first_chunk_tokens=1,
        stamps="kernel",
        stamp_lag_s=0.0001,
        coalesced_reads=0,
        coalesced_chunks=0,
        first_stamp_chunks=1,
        first_stamp_tokens=None,
        outcome="ok",
        status=200,
        finish_reason="stop",
    )
    return TurnRecord(**(values | changes))


def ending(**changes: Any) -> Ending:
    """Of a run that went well, in one process against an engine that keeps up with its clock."""
    values: dict[str, Any] = dict(
        at_s=600.0,
        salted=True,
        workers=None,
        workers_lost=0,
        workers_unreported=0,
        engine_lateness_p99_s=0.0001,
        engine_arrival_lateness_p99_s=0.0,
    )
    return Ending(**(values | changes))


def unfinished_record(**changes: Any) -> TurnRecord:
    """Sent at 10 s, cut off at 20 s by the end of the run, without a first token."""
    unseen: dict[str, Any] = dict(
        outcome="unfinished",
        ended_at_s=20.0,
        status=None,
        finish_reason=None,
        head_at_s=None,
        first_token_at_s=None,
        first_visible_at_s=None,
        last_token_at_s=None,
        prompt_tokens=None,
        cached_tokens=None,
        output_tokens=None,
        reasoning_tokens=None,
        output_chunks=0,
        first_chunk_tokens=None,
        first_stamp_chunks=0,
        first_stamp_tokens=None,
    )
    return turn_record(**(unseen | changes))


def failed_record(kind: str, **changes: Any) -> TurnRecord:
    """Failed after 1 s without any output."""
    return unfinished_record(**({"outcome": kind, "ended_at_s": 11.0} | changes))


def header(**changes: Any) -> Header:
    values: dict[str, Any] = dict(
        run="demo",
        fingerprint=fingerprint(),
        started_at=1_750_000_000.25,
        speed=20.0,
        target=Target(
            url="http://127.0.0.1:8000",
            model="kimi-like",
            engine="sim:trtllm-like",
            simulated=True,
            gpus=4,
        ),
    )
    return Header(**(values | changes))


def fingerprint(**changes: Any) -> Fingerprint:
    values: dict[str, Any] = dict(
        profile="seed",
        profile_hash="aa11",
        seed=1,
        corpus_hash="bb22",
        tokenizer="tekken",
        mode="tpm",
        version="0.1.0",
    )
    return Fingerprint(**(values | changes))


COUNTS = st.integers(0, 300_000)
STAMPS = st.floats(0, 1e5, allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def turn_records(**changes: st.SearchStrategy[Any]) -> st.SearchStrategy[TurnRecord]:
    """Any record the type allows, consistent or not; `changes` replaces a field's strategy."""
    maybe_count, maybe_stamp = st.none() | COUNTS, st.none() | STAMPS
    strategies: dict[str, st.SearchStrategy[Any]] = dict(
        session=TEXTS,
        turn=st.integers(0, 1000),
        kind=st.sampled_from(("start", "tool", "user", "compaction")),
        level=st.none() | st.integers(0, 9),
        text_tokens=COUNTS,
        planned_prompt_tokens=COUNTS,
        planned_output_tokens=COUNTS,
        ideal_cached_tokens=COUNTS,
        body_bytes=COUNTS,
        scheduled_at_s=STAMPS,
        sent_at_s=maybe_stamp,
        body_sent_at_s=maybe_stamp,
        head_at_s=maybe_stamp,
        first_token_at_s=maybe_stamp,
        first_visible_at_s=maybe_stamp,
        last_token_at_s=maybe_stamp,
        ended_at_s=STAMPS,
        prompt_tokens=maybe_count,
        cached_tokens=maybe_count,
        output_tokens=maybe_count,
        reasoning_tokens=maybe_count,
        output_chunks=COUNTS,
        first_chunk_tokens=maybe_count,
        chunk_gaps_s=st.lists(st.floats(0, 100), max_size=4).map(tuple),
        stamps=st.sampled_from(("kernel", "clock")),
        stamp_lag_s=st.floats(0, 10),
        coalesced_reads=COUNTS,
        coalesced_chunks=maybe_count,
        first_stamp_chunks=maybe_count,
        first_stamp_tokens=maybe_count,
        outcome=st.sampled_from(OUTCOMES),
        status=st.none() | st.integers(100, 599),
        detail=TEXTS,
        finish_reason=st.none() | TEXTS,
        retry_after_s=st.none() | STAMPS,
    )
    return st.builds(TurnRecord, **(strategies | changes))


def levels() -> st.SearchStrategy[Level]:
    return st.builds(
        Level,
        index=st.integers(0, 9),
        target_tpm=st.none() | st.floats(1e3, 1e8),
        developers=st.none() | st.integers(1, 1000),
        started_at_s=STAMPS,
        ended_at_s=st.none() | STAMPS,
    )


def healths() -> st.SearchStrategy[Health]:
    return st.builds(
        Health,
        process=st.sampled_from(("local", "master", "worker-0", "worker-1")),
        at_s=STAMPS,
        interval_s=st.floats(0.1, 100),
        hub_lag_p99_s=st.none() | st.floats(0, 10),
        hub_lag_max_s=st.none() | st.floats(0, 10),
        cpu_share=st.floats(0, 4),
        rss_bytes=st.integers(1, 1 << 40),
    )
