"""The KV pool: hits, sharing, eviction order, and an account that always balances."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tokenswarm.engine.core.host_tier import HostTier
from tokenswarm.engine.core.kv_cache import BlockTable, KVCache, Segment, blocks_for


def chain(*pieces: tuple[str, int]) -> tuple[Segment, ...]:
    """Segments of pieces (name, blocks); a key is the path from the root, as in the server."""
    segments: list[Segment] = []
    path: tuple[str, ...] = ()
    end = 0
    for name, num_blocks in pieces:
        path, end = (*path, name), end + num_blocks
        segments.append(Segment(path, end))
    return tuple(segments)


def computed(cache: KVCache, segments: tuple[Segment, ...], num_blocks: int) -> BlockTable:
    table = cache.allocate(segments, num_blocks, num_blocks)
    assert table is not None
    cache.publish(table, num_blocks)
    return table


def test_blocks_are_rounded_up():
    assert [blocks_for(n) for n in (1, 64, 65)] == [1, 1, 2]


def test_first_prompt_hits_nothing_and_its_extension_hits_all_of_it():
    cache = KVCache(100)
    first = computed(cache, chain(("system", 10), ("user", 5)), 16)
    cache.release(first)
    grown = cache.allocate(chain(("system", 10), ("user", 5), ("tool", 20)), 36, 35)
    assert grown is not None and (grown.shared, grown.private) == (15, 21)


def test_blocks_can_be_hit_only_after_they_were_computed():
    cache = KVCache(100)
    segments = chain(("system", 10))
    first = cache.allocate(segments, 10, 9)
    assert first is not None
    cache.publish(first, 4)
    second = cache.allocate(segments, 10, 9)
    assert second is not None and second.shared == 4


def test_a_fork_shares_the_blocks_up_to_where_it_parts():
    cache = KVCache(100)
    computed(cache, chain(("system", 10), ("a", 5)), 15)
    fork = cache.allocate(chain(("system", 10), ("b", 5)), 15, 14)
    assert fork is not None and fork.shared == 10
    assert cache.used == 20


def test_the_same_content_computed_twice_is_kept_once():
    cache = KVCache(100)
    segments = chain(("system", 10))
    tables = [cache.allocate(segments, 10, 9) for _ in range(2)]
    for table in tables:
        assert table is not None
        cache.publish(table, 10)
    assert cache.used == 10


def test_max_hit_leaves_blocks_to_compute():
    cache = KVCache(100)
    cache.release(computed(cache, chain(("system", 10)), 10))
    again = cache.allocate(chain(("system", 10)), 10, 9)
    assert again is not None and (again.shared, again.private) == (9, 1)
    cache.publish(again, 10)
    assert (again.shared, again.private, cache.used) == (10, 0, 10)


def test_eviction_takes_the_oldest_leaf_first_and_cuts_from_its_tail():
    cache = KVCache(30)
    cache.release(computed(cache, chain(("system", 10), ("old", 10)), 20))
    cache.release(computed(cache, chain(("system", 10), ("new", 10)), 20))
    big = cache.allocate(chain(("other", 4)), 4, 3)
    assert big is not None
    cache.release(big)
    old = cache.allocate(chain(("system", 10), ("old", 10)), 20, 20)
    assert old is not None and old.shared == 16
    cache.release(old)
    new = cache.allocate(chain(("system", 10), ("new", 10)), 20, 20)
    assert new is not None and new.shared == 20


def test_pinned_blocks_are_never_evicted():
    cache = KVCache(20)
    held = computed(cache, chain(("system", 15)), 15)
    assert cache.allocate(chain(("other", 6)), 6, 5) is None
    assert not cache.grow(held, 21)
    assert cache.grow(held, 20)


def test_without_prefix_cache_nothing_is_hit_or_kept():
    cache = KVCache(100, prefix_cache=False)
    cache.release(computed(cache, chain(("system", 10)), 10))
    again = cache.allocate(chain(("system", 10)), 10, 9)
    assert again is not None and again.shared == 0 and cache.used == 10


def test_an_answer_sent_back_is_found_up_to_its_shorter_count():
    cache = KVCache(100)
    cache.release(computed(cache, chain(("user", 10), ("answer", 6)), 16))
    shorter = cache.allocate(chain(("user", 10), ("answer", 4), ("next", 5)), 19, 18)
    assert shorter is not None and shorter.shared == 14
    cache.publish(shorter, 19)
    cache.release(shorter)
    assert cache.used == cache.evictable == 10 + 6 + 5


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["allocate", "publish", "grow", "release"]),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
        st.integers(0, 30),
    ),
    max_size=60,
)


def balance(cache: KVCache, tables: list[BlockTable]) -> None:
    runs = cache._runs.values()
    assert cache.used == sum(r.resident for r in runs) + sum(t.private for t in tables)
    assert 0 <= cache.used <= cache.capacity
    assert cache.evictable == sum(r.resident for r in runs if not r.pins)
    assert set(cache._idle) == {r.key for r in runs if not r.pins}
    assert sum(r.pins for r in runs) == sum(len(t.runs) for t in tables)
    assert all(t.private >= 0 for t in tables)
    run: Any
    for run in runs:  # leaves go first: a resident run's parent is resident
        assert len(run.key) == 1 or run.key[:-1] in cache._runs


@given(MOVES, st.sampled_from([None, 5, 100]))
@settings(max_examples=300, deadline=None)
def test_the_account_balances_after_any_moves(moves, host_blocks):
    host = None if host_blocks is None else HostTier(host_blocks)
    cache = KVCache(40, host=host)
    tables: list[BlockTable] = []
    for move, path, amount in moves:
        if move == "allocate":
            segments = chain(*((name, 1 + ord(name) - ord("a") + len(path)) for name in path))
            size = segments[-1].end + amount
            if table := cache.allocate(segments, size, size - 1):
                tables.append(table)
        elif tables:
            table = tables[amount % len(tables)]
            if move == "publish":
                cache.publish(table, min(amount, table.num_blocks))
            elif move == "grow":
                cache.grow(table, table.num_blocks + amount % 5)
            else:
                tables.remove(table)
                cache.release(table)
        balance(cache, tables)
        assert host is None or 0 <= host.used <= host.capacity
    for table in tables:
        cache.release(table)
    cache.clear()
    assert cache.used == cache.evictable == 0
    assert host is None or host.used == 0
