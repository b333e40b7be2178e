"""Buckets as Prometheus counts them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.engine.server.histogram import Histogram


def test_a_bucket_holds_its_upper_bound_and_counts_all_below():
    histogram = Histogram((1, 2.5))
    for value in (0.5, 1, 2, 2.5, 99):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2), ("2.5", 4), ("+Inf", 5)]
    assert histogram.total == 105


def test_clear_forgets_everything():
    histogram = Histogram((1,))
    histogram.observe(0.5)
    histogram.clear()
    assert (histogram.buckets(), histogram.total) == ([("1.0", 0), ("+Inf", 0)], 0.0)


@given(st.lists(st.floats(0, 100)), st.sets(st.floats(0, 100), min_size=1))
def test_every_bucket_counts_the_values_up_to_its_bound(values, bounds):
    histogram = Histogram(sorted(bounds))
    for value in values:
        histogram.observe(value)
    for shown, count in histogram.buckets():
        assert count == sum(value <= float(shown) for value in values)
