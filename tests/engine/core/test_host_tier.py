"""Host memory behind the pool: what is evicted comes back, at the price of its transfer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenswarm.engine.core.engine import Engine
from tokenswarm.engine.core.host_tier import HostMemory, HostTier
from tokenswarm.engine.core.kv_cache import KVCache, Segment
from tokenswarm.engine.core.scheduler import Policy
from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.core.speculation import Speculation
from tokenswarm.engine.core.step_time import Coefficients
from tokenswarm.engine.physics.presets import PRESETS

PREFILL_S, STEP_S, LOAD_S = 1e-4, 0.01, 1e-5
COST = Coefficients(t0_s=STEP_S, a1_s=PREFILL_S, a2_s=0, d0_s=STEP_S, d1_s=0, d2_s=0)


def engine_with(host_tokens: int, pool_tokens: int = 20 * 64) -> Engine:
    return Engine(
        cost=COST,
        policy=Policy(reserve_tokens=64),
        speculation=Speculation(),
        kv_tokens=pool_tokens,
        host=HostMemory(kv_tokens=host_tokens, load_s_per_token=LOAD_S),
    )


def turn(engine: Engine, at_s: float, name: str, blocks: int = 16) -> Sequence:
    """One answered request of `blocks` full blocks and one more token; runs until it is over."""
    sequence = Sequence(
        id=0,
        prompt_tokens=blocks * 64 + 1,
        output_tokens=1,
        segments=(Segment(name, blocks),),
    )
    engine.submit(sequence, at_s)
    now_s = at_s
    while (start_s := engine.next_time(now_s)) is not None:
        now_s, _ = engine.step(start_s)
    return sequence


def test_an_evicted_prompt_is_found_in_host_memory_and_costs_its_transfer():
    engine = engine_with(host_tokens=10_000)
    cold = turn(engine, 0.0, "a")
    turn(engine, 10.0, "b")  # evicts a
    warm = turn(engine, 20.0, "a")
    assert (cold.cached_tokens, warm.cached_tokens) == (0, 1024)
    # 3 of a's 16 blocks were still on the GPUs; the other 13 came over the link
    assert engine.scheduler.num_loaded_tokens == 13 * 64
    assert cold.first_token_at_s == pytest.approx(STEP_S + 1025 * PREFILL_S)
    assert warm.first_token_at_s - 20 == pytest.approx(13 * 64 * LOAD_S + STEP_S + PREFILL_S)


def test_without_the_tier_the_evicted_part_is_computed_again():
    engine = engine_with(host_tokens=0)
    for at_s, name in ((0.0, "a"), (10.0, "b")):
        turn(engine, at_s, name)
    warm = turn(engine, 20.0, "a")
    assert (warm.cached_tokens, engine.scheduler.num_loaded_tokens) == (192, 0)


def test_the_tier_drops_its_least_recently_used_blocks():
    engine = engine_with(host_tokens=14 * 64)
    for at_s, name in ((0.0, "a"), (10.0, "b"), (20.0, "c")):
        turn(engine, at_s, name)
    # the tier took 13 blocks of a, then 13 of b: 1 of a is left, beside 3 on the GPUs
    assert turn(engine, 30.0, "b").cached_tokens == 1024
    engine = engine_with(host_tokens=14 * 64)
    for at_s, name in ((0.0, "a"), (10.0, "b"), (20.0, "c")):
        turn(engine, at_s, name)
    assert turn(engine, 30.0, "a").cached_tokens < 512


def test_one_link_brings_one_sequence_after_the_other_while_others_go_on():
    engine = engine_with(host_tokens=100_000, pool_tokens=80 * 64)
    for at_s, name in enumerate("abcdefgh"):
        turn(engine, at_s * 10.0, name)
    decoding = Sequence(id=9, prompt_tokens=64, output_tokens=60)
    engine.submit(decoding, 100.0)
    now_s, _ = engine.step(100.0)
    loading = [
        Sequence(id=i, prompt_tokens=1025, output_tokens=1, segments=(Segment(name, 16),))
        for i, name in enumerate("ab")
    ]
    for sequence in loading:
        engine.submit(sequence, now_s)
    begun_s, emitted = now_s, decoding.num_emitted
    while not all(sequence.finished for sequence in loading):
        now_s, _ = engine.step(engine.next_time(now_s))
    first, second = (sequence.loaded_at_s - begun_s for sequence in loading)
    assert (first, second) == pytest.approx((1024 * LOAD_S, 2 * 1024 * LOAD_S))
    assert decoding.num_emitted > emitted + 1


def test_a_new_arrival_does_not_wait_for_the_transfer_of_another():
    engine = engine_with(host_tokens=10_000, pool_tokens=40 * 64)
    for at_s, name in enumerate("abc"):
        turn(engine, at_s * 10.0, name)
    slow = Sequence(id=0, prompt_tokens=1025, output_tokens=1, segments=(Segment("a", 16),))
    quick = Sequence(id=1, prompt_tokens=1, output_tokens=1)
    engine.submit(slow, 50.0)
    now_s, emissions = engine.step(engine.next_time(50.0))
    assert (now_s, emissions) == (50.0, [])
    engine.submit(quick, 50.001)
    start_s = engine.next_time(now_s)
    assert start_s == 50.001 < slow.loaded_at_s
    engine.step(start_s)
    assert quick.finished and not slow.finished


def test_the_presets_link_takes_the_bytes_of_a_token_at_pcie_5():
    host = PRESETS["trtllm-like"].with_host_tier(1_000_000).host
    assert host is not None and host.load_s_per_token == pytest.approx(35_136 / 63e9)
    assert PRESETS["trtllm-like"].with_host_tier(0).host is None


STRETCHES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.integers(1, 10), st.booleans()),
    max_size=40,
)


@given(STRETCHES, st.integers(0, 25))
def test_the_tiers_account_balances_and_finds_only_what_was_put(moves, capacity):
    tier = HostTier(capacity)
    there: dict[str, set[int]] = {name: set() for name in "abc"}
    for name, start, length, put in moves:
        if put:
            tier.put(name, start, start + length)
            there[name] |= set(range(start, start + length))
        elif count := min(length, tier.found(name, start)):
            assert set(range(start, start + count)) <= there[name]
            tier.take(name, start, count)
        stretches = tier._stretches.values()
        assert tier.used == sum(end - first for first, end in stretches) <= capacity
        assert all(first < end for first, end in stretches)


CHAINS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=60)


@given(CHAINS, st.integers(0, 60))
@settings(deadline=None)
def test_with_room_for_everything_no_computed_block_is_ever_lost(chains, extra):
    """Pool and tier together hold all that was computed, so every repeat is a full hit."""
    cache = KVCache(24, host=HostTier(2_000 + extra))
    computed: dict[tuple[int, ...], int] = {}
    for path in chains:
        keys = [tuple(path[: i + 1]) for i in range(len(path))]
        segments = tuple(Segment(key, 5 * (i + 1)) for i, key in enumerate(keys))
        size = segments[-1].end
        table = cache.allocate(segments, size, size)
        assert table is not None
        assert table.shared == 5 * sum(key in computed for key in keys)
        cache.publish(table, size)
        computed |= dict.fromkeys(keys, 5)
        cache.release(table)
