import pytest

from tokenswarm.report.analysis.interval import Interval


def test_an_interval_in_another_unit():
    assert Interval(4.0, 2.0, None).scaled(0.25) == Interval(1.0, 0.5, None)


def test_the_wider_of_two_keeps_this_value_and_open_ends():
    assert Interval(2.0, 1.0, 3.0).wider(Interval(9.0, 0.5, 2.5)) == Interval(2.0, 0.5, 3.0)
    assert Interval(2.0, 1.0, 3.0).wider(Interval(2.0, None, 4.0)) == Interval(2.0, None, 4.0)


def test_ends_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="interval from 3.0 to 1.0"):
        Interval(2.0, 3.0, 1.0)
