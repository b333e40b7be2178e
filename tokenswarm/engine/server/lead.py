"""Lead: which engine a request goes to while a generator leads the clock, and while none does."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tokenswarm.engine.core.fleet import Fleet
from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.server.driven import Advanced, Disagreement, DrivenEngine
from tokenswarm.engine.server.errors import ApiError, invalid
from tokenswarm.engine.server.live import LiveEngine, Observer, Stream

ORDER = "x-sim-order"  # of a run's requests: "<run>/<number>"
HANGUP_AFTER = "x-sim-hangup-after"  # output chunks
# Wall seconds without an advance after which a generator is taken for dead: it asks again within
# milliseconds, or as soon as its machine lets it (guess).
LEASE_S = 60.0


class Seat(Protocol):
    """Where one request is served."""

    async def submit(self, sequence: Sequence, finish_reason: str) -> Stream:
        """Raises QueueFull."""

    def cancel(self, stream: Stream) -> None:
        """The client is gone."""

    def refused(self) -> None:
        """It is answered with an error."""


class FreeSeat:
    """On the engine that runs by the wall clock."""

    def __init__(self, live: LiveEngine) -> None:
        self._live = live
        self._arrived_at_s = live.clock.now_s()

    async def submit(self, sequence: Sequence, finish_reason: str) -> Stream:
        return self._live.submit(sequence, self._arrived_at_s, finish_reason)

    def cancel(self, stream: Stream) -> None:
        self._live.cancel(stream)

    def refused(self) -> None:
        """The wall clock does not wait for it."""


class LedSeat:
    """In a run whose generator leads the clock."""

    def __init__(self, engine: DrivenEngine, order: int, hangup_after: int | None) -> None:
        self._engine = engine
        self._order = order
        self._hangup_after = hangup_after

    async def submit(self, sequence: Sequence, finish_reason: str) -> Stream:
        return await self._engine.arrived(self._order, sequence, finish_reason, self._hangup_after)

    def cancel(self, stream: Stream) -> None:
        self._engine.cancel(stream)

    def refused(self) -> None:
        self._engine.refused(self._order)


class Lead:
    """Of an engine in driven time. Between two runs it is free: it goes by the wall clock, so that
    a look at it before traffic, or a stranger, is answered."""

    def __init__(self, new_fleet: Callable[[int | None], Fleet], observer: Observer) -> None:
        """new_fleet: with the chances of this seed, None for the engines' own."""
        self._new_fleet = new_fleet
        self._observer = observer
        self._run: str | None = None
        self._engine: DrivenEngine | None = None
        self._lease: asyncio.TimerHandle | None = None

    @property
    def engine(self) -> DrivenEngine | None:
        """Of the run that is on."""
        return self._engine

    def seat(self, headers: Mapping[str, str], live: LiveEngine) -> Seat:
        """Raises ApiError for a stranger to the run that is on, and for a run that is over."""
        said = headers.get(ORDER)
        if said is None:
            if self._engine is not None:
                raise ApiError(
                    503,
                    "this engine's clock is driven by a run of tokenswarm, which is on; ask again "
                    "when it is over",
                    code="clock_is_driven",
                    headers={"retry-after": "5"},
                )
            return FreeSeat(live)
        run, _, order = said.partition("/")
        engine = self._of(run)
        if not order.isdecimal():
            raise invalid("x-sim-order", said, "<run>/<number>")
        hangup = headers.get(HANGUP_AFTER, "")
        return LedSeat(engine, int(order), int(hangup) if hangup.isdecimal() else None)

    async def ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """One question of a generator: {"begin": true, "seed": …};
        {"run": …, "until_s": …, "sent": …}; {"run": …, "end": true}. Raises ApiError."""
        if asked.get("begin") is True:
            return self._begin(asked.get("seed"))
        engine = self._of(asked.get("run"))
        if asked.get("end") is True:
            self._end()
            return {}
        until_s, sent = asked.get("until_s"), asked.get("sent")
        if not (until_s is None or isinstance(until_s, int | float)):
            raise invalid("until_s", until_s, "a number of seconds, or null")
        if not isinstance(sent, int) or isinstance(sent, bool):
            raise invalid("sent", sent, "a whole number")
        self._hold_lease(None)
        try:
            advanced: Advanced = await engine.advance(until_s, sent)
        except Disagreement as error:
            raise ApiError(409, str(error), code="clocks_disagree") from None
        finally:
            self._hold_lease(LEASE_S)
        return {"now_s": advanced.now_s, "ended": advanced.ended}

    def close(self) -> None:
        """The engine goes down."""
        self._end()

    def _of(self, run: object) -> DrivenEngine:
        if self._engine is None or run != self._run:
            raise ApiError(
                409, "this run is not on: its lease is over, or it never was", code="no_run"
            )
        return self._engine

    def _begin(self, seed: object) -> dict[str, Any]:
        if not (seed is None or (isinstance(seed, int) and seed >= 0)):
            raise invalid("seed", seed, "a whole number of at least 0, or null")
        if self._engine is not None:
            raise ApiError(409, "another run drives this engine's clock", code="clock_is_driven")
        self._run, self._engine = (
            secrets.token_hex(4),
            DrivenEngine(self._new_fleet(seed), self._observer),
        )
        self._hold_lease(LEASE_S)
        return {"run": self._run, "now_s": self._engine.now_s}

    def _end(self) -> None:
        self._hold_lease(None)
        if self._engine is not None:
            self._engine.close()
        self._run = self._engine = None

    def _hold_lease(self, seconds: float | None) -> None:
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None
        if seconds is not None and self._engine is not None:
            self._lease = asyncio.get_running_loop().call_later(seconds, self._end)
