"""Fleet: replicas of one engine behind a router, in one virtual time. No I/O; used as an Engine is.

    fleet.submit(sequence, now_s)                            the router says where
    while (at_s := fleet.next_time(now_s)) is not None:
        now_s, emissions = fleet.step(at_s)

Steps of different replicas overlap, so what a step emits is held until its end: an arrival in
between reaches the other replicas in its own time.
"""

from __future__ import annotations

from collections.abc import Sequence as Replicas

from tokenswarm.engine.core.engine import Emission, Engine
from tokenswarm.engine.core.router import Router
from tokenswarm.engine.core.sequence import Sequence


class Fleet:
    def __init__(self, replicas: Replicas[Engine], router: Router) -> None:
        self.replicas = tuple(replicas)
        self._router = router
        # By replica: the end of the step that is on, and what it emits there.
        self._under_way: list[tuple[float, list[Emission]] | None] = [None] * len(self.replicas)

    def submit(self, sequence: Sequence, now_s: float) -> None:
        """Queue the sequence at a replica. Raises QueueFull where that one's queue is full, or
        ValueError where it could never fit."""
        sequence.replica = self._router.choose(sequence, self.replicas)
        self.replicas[sequence.replica].submit(sequence, now_s)

    def cancel(self, sequence: Sequence) -> None:
        """Drop the sequence and free its blocks. No effect on one that has finished."""
        self.replicas[sequence.replica].cancel(sequence)

    def next_time(self, now_s: float) -> float | None:
        """When the next step can start or ends, not before `now_s`. None when there is no work."""
        if len(self.replicas) == 1:
            return self.replicas[0].next_time(now_s)
        return min((at_s for at_s, _ in self._due(now_s)), default=None)

    def step(self, now_s: float) -> tuple[float, list[Emission]]:
        """Whatever is due at `now_s`: the end of a step, with what it emits, or the start of one,
        with nothing. A replica alone does both at once, and says the end's time."""
        if len(self.replicas) == 1:
            return self.replicas[0].step(now_s)
        at_s, index = min(self._due(now_s))
        under_way = self._under_way[index]
        if under_way is not None:
            self._under_way[index] = None
            return under_way
        end_s, emissions = self.replicas[index].step(at_s)
        if end_s > at_s:
            self._under_way[index] = end_s, emissions
        return at_s, []

    def reset(self) -> None:
        """Empty the prefix caches, zero the counters, restart the random streams."""
        for replica in self.replicas:
            replica.reset()

    @property
    def num_running(self) -> int:
        return sum(replica.scheduler.num_running for replica in self.replicas)

    @property
    def num_waiting(self) -> int:
        return sum(len(replica.scheduler.waiting) for replica in self.replicas)

    def _due(self, now_s: float) -> list[tuple[float, int]]:
        due = []
        for index, (replica, under_way) in enumerate(
            zip(self.replicas, self._under_way, strict=True)
        ):
            at_s = replica.next_time(now_s) if under_way is None else under_way[0]
            if at_s is not None:
                due.append((at_s, index))
        return due
