"""Rates that make no sense are refused by name, before any traffic."""

import pytest

from tokenswarm.measure.amounts import OptionError, parse_rate


@pytest.mark.parametrize("text", ["1", "2", "99", "20000M", "999999999999", "0", "inf", "two"])
def test_a_rate_that_was_meant_otherwise_is_refused(text):
    with pytest.raises(OptionError, match=rf"--levels '{text}': .*accepted are rates"):
        parse_rate("--levels", text)


@pytest.mark.parametrize("text, tpm", [("0.5M", 5e5), ("20k", 2e4), ("694M", 6.94e8), ("100", 100)])
def test_a_rate_is_read(text, tpm):
    assert parse_rate("--tpm", text) == tpm
