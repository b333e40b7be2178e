"""Turns, levels and health of a run, wherever they happened: what the other exporters listen to.

In a process that sends traffic, turns come from Locust's `request` event (context key "turn"); on
a master they come from its workers through `shell.link`.
"""

from __future__ import annotations

from locust.env import Environment

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tokenswarm.measure.health import Health
from tokenswarm.measure.record import Level, TurnRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is under way at a moment, of one process or of all that send traffic.

    sent_prompt_tokens: planned ones of the turns sent since the start of the run;
    told_to_wait: developers that a Retry-After keeps away now; waiting_tickets: due and not taken,
    None in closed mode; settled_s: every turn that was due
    before this second of the run has ended, and its record is here.
    """

    in_flight: int
    open_sessions: int
    told_to_wait: int
    waiting_tickets: int | None
    sent_prompt_tokens: int
    settled_s: float


IDLE = Load(
    in_flight=0,
    open_sessions=0,
    told_to_wait=0,
    waiting_tickets=None,
    sent_prompt_tokens=0,
    settled_s=0.0,
)


class TurnFeed:
    """Passes every turn, level and interval of health on to its subscribers."""

    def __init__(self) -> None:
        self._on_turn: list[Callable[[TurnRecord], None]] = []
        self._on_level: list[Callable[[Level], None]] = []
        self._on_health: list[Callable[[Health], None]] = []

    def subscribe(
        self,
        on_turn: Callable[[TurnRecord], None],
        on_level: Callable[[Level], None] | None = None,
        on_health: Callable[[Health], None] | None = None,
    ) -> None:
        self._on_turn.append(on_turn)
        if on_level is not None:
            self._on_level.append(on_level)
        if on_health is not None:
            self._on_health.append(on_health)

    def unsubscribe(
        self,
        on_turn: Callable[[TurnRecord], None],
        on_level: Callable[[Level], None] | None = None,
        on_health: Callable[[Health], None] | None = None,
    ) -> None:
        """Takes a subscription back; the same arguments as to `subscribe`."""
        self._on_turn.remove(on_turn)
        if on_level is not None:
            self._on_level.remove(on_level)
        if on_health is not None:
            self._on_health.remove(on_health)

    def turn(self, record: TurnRecord) -> None:
        for pass_on in self._on_turn:
            pass_on(record)

    def level(self, level: Level) -> None:
        for pass_on in self._on_level:
            pass_on(level)

    def health(self, health: Health) -> None:
        for pass_on in self._on_health:
            pass_on(health)


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
