"""A worker that no longer hears its master."""

from __future__ import annotations

from tokenswarm.shell.master_watch import SILENCE_S, MasterWatch


def test_a_master_that_is_heard_every_second_is_no_matter():
    watch = MasterWatch()
    for second in range(20):
        assert not watch.heard(float(second))
        assert watch.overdue_s(second + 0.9) is None


def test_silence_is_said_once_with_how_long_it_has_lasted():
    watch = MasterWatch()
    watch.heard(10.0)
    assert watch.overdue_s(10.0 + SILENCE_S) is None
    assert watch.overdue_s(30.0) == 20.0 - SILENCE_S  # the worker itself was stopped
    assert watch.held
    assert watch.overdue_s(31.0) is None


def test_traffic_goes_on_when_the_master_is_heard_again():
    watch = MasterWatch()
    watch.heard(10.0)
    watch.overdue_s(20.0)
    assert watch.heard(21.0) and not watch.held
    assert not watch.heard(22.0)
    assert watch.overdue_s(30.0) == 8.0 - SILENCE_S


def test_before_it_was_heard_first_there_is_nothing_to_miss():
    assert MasterWatch().overdue_s(100.0) is None
