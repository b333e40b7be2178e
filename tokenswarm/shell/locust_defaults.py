"""Locust's own defaults, worked out once.

A worker looks every option of every spawn message up in them, and Locust builds its whole parser
anew for each: 6 ms for each of 140 options, measured. So whenever a worker joined, all the others
stood still for a second in mid-run, and on a busy machine for as long as makes a master give them
up. There is no event to say it otherwise.
"""

from __future__ import annotations

from locust import argument_parser

from functools import cache


def install() -> None:
    argument_parser.default_args_dict = cache(argument_parser.default_args_dict)
