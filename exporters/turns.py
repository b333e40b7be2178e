"""Turns and levels of a run, wherever they happened: what the other exporters listen to.

In a process that sends traffic, turns come from Locust's `request` event (context key "turn"); on
a master they come from its workers through `exporters.cluster`.
"""

from __future__ import annotations

from locust.env import Environment

from collections.abc import Callable
from typing import Any

from measure.record import Level, TurnRecord


class TurnFeed:
    """Passes every turn and level on to its subscribers."""

    def __init__(self) -> None:
        self._on_turn: list[Callable[[TurnRecord], None]] = []
        self._on_level: list[Callable[[Level], None]] = []

    def subscribe(
        self, on_turn: Callable[[TurnRecord], None], on_level: Callable[[Level], None] | None = None
    ) -> None:
        self._on_turn.append(on_turn)
        if on_level is not None:
            self._on_level.append(on_level)

    def unsubscribe(
        self, on_turn: Callable[[TurnRecord], None], on_level: Callable[[Level], None] | None = None
    ) -> None:
        """Takes a subscription back; the same arguments as to `subscribe`."""
        self._on_turn.remove(on_turn)
        if on_level is not None:
            self._on_level.remove(on_level)

    def turn(self, record: TurnRecord) -> None:
        for pass_on in self._on_turn:
            pass_on(record)

    def level(self, level: Level) -> None:
        for pass_on in self._on_level:
            pass_on(level)


def install(environment: Environment) -> TurnFeed:
    """A feed of this environment's turns. A turn that the end of the run cut off fires no request
    event: its sender gives it to the feed itself."""
    feed = TurnFeed()

    def pass_on(context: dict[str, Any] | None = None, **_kw: Any) -> None:
        record = (context or {}).get("turn")
        if record is not None:
            feed.turn(record)

    environment.events.request.add_listener(pass_on)
    return feed
