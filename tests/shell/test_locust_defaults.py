"""A worker's look-up of Locust's own options, of which a spawn message has one for each."""

from __future__ import annotations

from locust import argument_parser

from tokenswarm.shell import wiring  # noqa: F401  (installs it)


def test_locusts_defaults_are_worked_out_once_and_hold_none_of_our_options():
    defaults = argument_parser.default_args_dict()
    assert argument_parser.default_args_dict() is defaults
    assert "headless" in defaults and "tpm" not in defaults and "slo" not in defaults
