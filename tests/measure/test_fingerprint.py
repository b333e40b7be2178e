import pytest

from tests.support.records import fingerprint


def test_equal_fingerprints_have_no_differences():
    assert fingerprint().differences(fingerprint()) == []


def test_each_difference_is_named_with_both_values():
    other = fingerprint(seed=2, profile="wild")
    assert fingerprint().differences(other) == ["profile: seed against wild", "seed: 1 against 2"]


@pytest.mark.parametrize(("name", "value"), [("mode", "open"), ("history", "live")])
def test_an_unknown_value_names_what_is_accepted(name, value):
    with pytest.raises(ValueError, match=f"{name} '{value}' is not one of"):
        fingerprint(**{name: value})
