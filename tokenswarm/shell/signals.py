"""Signals: Ctrl-C and SIGTERM end a run with its results; a second one waits for no turn.

Python raises KeyboardInterrupt in whatever runs just then, a developer in mid-turn among it, whose
turn would then be in no ledger. Here a signal only starts a greenlet, which decides. Locust takes
SIGTERM over once its main loop waits; while a headless shape runs it has not yet, and the process
would die without a word.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import count
from typing import Any

import gevent

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def install(act: Callable[[int], None]) -> None:
    """act: told the number of the signal, from 1 on, in a greenlet of its own. Raises ValueError
    outside the main thread."""
    numbers = count(1)

    def note(_signal: int, _frame: Any) -> None:
        gevent.spawn(act, next(numbers))

    for number in SIGNALS:
        signal.signal(number, note)


def raise_in_main(error: BaseException) -> None:
    """Where the main greenlet waits, as gevent does it with Ctrl-C."""
    gevent.get_hub().handle_system_error(type(error), error)
