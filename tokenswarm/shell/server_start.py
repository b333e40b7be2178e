"""Server start: waiting for an endpoint that is not there yet, or is loading its model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import gevent

from tokenswarm.shell.preflight import NotReady

logger = logging.getLogger("tokenswarm")

Found = TypeVar("Found")

# Guesses: a model takes minutes to load, and a line per try would hide what matters.
TRY_EVERY_S = 2.0
SAY_EVERY_S = 15.0


def await_ready(
    look: Callable[[], Found],
    wait_s: float,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = gevent.sleep,
    say: Callable[[str], object] = logger.warning,
) -> Found:
    """What `look` finds, tried until it raises no NotReady, for wait_s wall seconds at most. Then
    its last NotReady is raised; anything else it raises, at once."""
    began_s = now()
    said_s = None
    while True:
        try:
            return look()
        except NotReady as refusal:
            waited_s = now() - began_s
            if waited_s + TRY_EVERY_S > wait_s:
                raise
            if said_s is None or waited_s - said_s >= SAY_EVERY_S:
                say(f"not ready, {wait_s - waited_s:.0f} s of --wait-ready left: {refusal}")
                said_s = waited_s
        sleep(TRY_EVERY_S)
