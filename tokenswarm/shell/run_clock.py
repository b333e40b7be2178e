"""Second 0 of a run, and how its seconds pass: with the wall clock, or driven with the engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import gevent

from tokenswarm.client.observation import Observation
from tokenswarm.shell.keeper import Keeper, Request, Source, Turn


class Stamps(NamedTuple):
    """When a turn's things happened, in seconds of the run; the names are TurnRecord's."""

    sent_at_s: float | None
    body_sent_at_s: float | None
    head_at_s: float | None
    first_token_at_s: float | None
    first_visible_at_s: float | None
    last_token_at_s: float | None
    ended_at_s: float


class Sending(Protocol):
    """One request, as the clock is concerned with it."""

    @property
    def headers(self) -> bytes:
        """More of them, each line with its CRLF."""

    def on_wire(self) -> None:
        """The whole request has been sent, or answered before it was."""

    def over(self) -> None:
        """The client is through with it: waits until the run has come so far."""

    def give_up(self) -> None:
        """Its developer is stopped, and waits for it no longer."""

    def stamps(self, seen: Observation) -> Stamps:
        """When it happened."""


class RunClock(Protocol):
    """What passes the time of a run. All waiting of the generator goes through it."""

    @property
    def driven(self) -> bool:
        """Whether time stands still until everybody waits."""

    @property
    def speed(self) -> float:
        """Engine seconds per wall second; 1 for every endpoint but the embedded engine."""

    def now_s(self) -> float: ...

    def wall_s(self, run_duration_s: float) -> float:
        """Wall seconds that so many of the run take, where they take any."""

    def sleep_until(self, at_s: float) -> None: ...

    def wait(self, turn: Turn) -> None:
        """Until somebody hands the turn over."""

    def hand(self, turn: Turn) -> None:
        """To whoever waits for it."""

    def queue(self) -> Turn:
        """A turn for a greenlet that the caller is about to spawn: `wait` for it first."""

    def leave(self) -> None:
        """The caller's greenlet is over, or does nothing more for the run."""

    def sending(self, hangup_after: int | None) -> Sending:
        """hangup_after: the planned interrupt, in output chunks."""

    def close(self) -> None:
        """The run is over."""


@dataclass(slots=True)
class WallClock:
    """run seconds = (monotonic seconds - origin) x speed. A worker's origin is its master's, and is
    corrected where the two have drifted apart (`shared_clock`)."""

    origin: float
    speed: float
    driven: bool = False

    @classmethod
    def starting_at(cls, unix_s: float, speed: float) -> WallClock:
        """A clock whose second 0 is this time of this machine's wall clock."""
        return cls(time.monotonic() - (time.time() - unix_s), speed)

    def run_s(self, monotonic_s: float) -> float:
        return (monotonic_s - self.origin) * self.speed

    def now_s(self) -> float:
        return self.run_s(time.monotonic())

    def wall_s(self, run_duration_s: float) -> float:
        return run_duration_s / self.speed

    def sleep_until(self, at_s: float) -> None:
        gevent.sleep(max(0.0, self.wall_s(at_s - self.now_s())))

    def wait(self, turn: Turn) -> None:
        turn.get()

    def hand(self, turn: Turn) -> None:
        turn.set()

    def queue(self) -> Turn:
        turn = Turn()
        turn.set()
        return turn

    def leave(self) -> None:
        """Nobody waits for it."""

    def sending(self, hangup_after: int | None) -> Sending:
        return _WallSending(self)

    def close(self) -> None:
        """It goes on by itself."""


@dataclass(frozen=True, slots=True)
class _WallSending:
    """The client's own stamps, on the run's clock."""

    clock: WallClock
    headers: bytes = b""

    def on_wire(self) -> None:
        """Time goes on anyway."""

    def over(self) -> None:
        """It is now."""

    def give_up(self) -> None:
        """Nobody waited."""

    def stamps(self, seen: Observation) -> Stamps:
        def at_s(monotonic_s: float | None) -> float | None:
            return None if monotonic_s is None else self.clock.run_s(monotonic_s)

        return Stamps(
            at_s(seen.sent_at),
            at_s(seen.body_sent_at),
            at_s(seen.head_at),
            at_s(seen.first_token_at),
            at_s(seen.first_visible_at),
            at_s(seen.last_token_at),
            self.clock.run_s(seen.ended_at),
        )


class DrivenClock:
    """Engine and generator keep one virtual clock (docs/decisions/0007). Nothing takes time but
    what the engine simulates and the workload plans."""

    driven = True
    speed = 1.0

    def __init__(self, keeper: Keeper, run: str, close: Callable[[], None]) -> None:
        """run: the engine's name for this run; close: gives the engine's clock back."""
        self._keeper = keeper
        self._run = run
        self._close = close

    def start(self) -> None:
        """Second 0 is over."""
        self._keeper.start()

    def stop(self) -> None:
        """Time stands still from now on."""
        self._keeper.close()

    @property
    def waiting(self) -> int:
        """Greenlets that wait to act."""
        return self._keeper.waiting

    def attach(self, source: Source) -> None:
        """What plans by itself."""
        self._keeper.attach(source)

    def now_s(self) -> float:
        return self._keeper.now_s

    def wall_s(self, run_duration_s: float) -> float:
        return 0.0

    def sleep_until(self, at_s: float) -> None:
        self._keeper.sleep_until(at_s)

    def wait(self, turn: Turn) -> None:
        self._keeper.wait(turn)

    def hand(self, turn: Turn) -> None:
        self._keeper.hand(turn)

    def queue(self) -> Turn:
        return self._keeper.queue()

    def leave(self) -> None:
        self._keeper.leave()

    def sending(self, hangup_after: int | None) -> Sending:
        return _DrivenSending(self._keeper, self._run, hangup_after)

    def close(self) -> None:
        self._keeper.close()
        self._close()


class _DrivenSending:
    """Sent at the virtual second, its chunks stamped by the engine."""

    def __init__(self, keeper: Keeper, run: str, hangup_after: int | None) -> None:
        self._keeper = keeper
        self._request: Request = keeper.request()
        self._sent_at_s = keeper.now_s
        self._on_wire = False
        headers = f"X-Sim-Order: {run}/{self._request.number}\r\n"
        if hangup_after is not None:
            headers += f"X-Sim-Hangup-After: {hangup_after}\r\n"
        self.headers = headers.encode()

    def on_wire(self) -> None:
        self._on_wire = True
        self._keeper.sent()

    def over(self) -> None:
        if self._on_wire:  # else it never got that far, and the caller has acted all the time
            self._keeper.wait(self._request.answered)

    def give_up(self) -> None:
        self._request.answered.given_up = True

    def stamps(self, seen: Observation) -> Stamps:
        sent_at_s = self._sent_at_s if self._on_wire else None
        return Stamps(
            sent_at_s,
            sent_at_s,
            None,
            seen.first_token_at,
            seen.first_visible_at,
            seen.last_token_at,
            self._keeper.now_s,
        )
