"""Developers of whose sessions only the pauses matter."""

from __future__ import annotations

from typing import cast

from workload.life import Life
from workload.session import Session, Turn


class Pauses:
    """A session with these pauses before its turns."""

    def __init__(self, name: str, *gaps_s: float) -> None:
        self.name = name
        self._left = [
            Turn(name, n, "tool", gap_s, 1000, 10, 990, 5, 5, None, 0)
            for n, gap_s in enumerate(gaps_s)
        ]

    def next_turn(self) -> Turn | None:
        return self._left.pop(0) if self._left else None


def life_of(*sessions: Pauses, agent: bool = False) -> Life:
    return Life(cast(list[Session], list(sessions)), agent=agent)
