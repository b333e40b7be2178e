"""Driven time: the engine goes on only as far as it is told, and says what ended on the way.

A generator and this engine keep one virtual clock by conservative synchronisation (Chandy and
Misra, "Distributed Simulation", 1979). The generator promises to send nothing before second t; the
engine goes on to t, or to the first end of a request, whichever comes first, and says so. So what
happens when is decided by virtual time and by the generator's own order of sending, never by which
socket was readable first: the same run gives the same numbers on every machine.

    begin()                 second 0 of a run, on a fresh engine
    arrived(order, …)       a request is here, parsed and counted; it waits for the next advance
    advance(until_s, sent)  waits for all that were sent, submits them in their order, then steps
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from tokenswarm.engine.core.engine import Emission
from tokenswarm.engine.core.fleet import Fleet
from tokenswarm.engine.core.scheduler import QueueFull
from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.server.live import Observer, Stream, iteration_tokens

# Wall seconds for a request that the generator has sent to be here and counted: a prompt of 200k
# tokens of new text takes 0.1 s of tokenising, and a busy machine may be fifty times as slow.
ARRIVAL_LIMIT_S = 60.0
# Other tasks have their turn after so many steps, about 20 ms of them: chunks are written.
_STEPS_AT_ONCE = 400


class Disagreement(Exception):
    """Generator and engine do not agree on what was sent."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """now_s: how far the engine has come; ended: the requests that ended at that second, in the
    order in which they did."""

    now_s: float
    ended: tuple[int, ...]


@dataclass(slots=True)
class _Arrival:
    """A request that waits to be submitted. hangup_after: output chunks after which its client
    will hang up, None for none."""

    order: int
    sequence: Sequence
    finish_reason: str
    hangup_after: int | None
    stream: asyncio.Future[Stream]


@dataclass(slots=True)
class _Client:
    """Whom a sequence's tokens go to."""

    order: int
    stream: Stream
    chunks_left: int | None  # until its client hangs up


class DrivenEngine:
    """One run. Requests are known by `order`, the generator's number for each."""

    def __init__(self, fleet: Fleet, observer: Observer) -> None:
        self.fleet = fleet
        self.now_s = 0.0
        self._observer = observer
        self._reached_s = 0.0  # the end of the last step, perhaps ahead of now_s
        self._held: list[_Client] = []  # whose requests ended there, while it is ahead
        self._arrivals: list[_Arrival] = []
        self._counted: set[int] = set()
        self._ended: list[int] = []  # since the last advance
        self._changed = asyncio.Event()
        self._clients: dict[int, _Client] = {}  # by sequence

    async def arrived(
        self, order: int, sequence: Sequence, finish_reason: str, hangup_after: int | None
    ) -> Stream:
        """Its stream, once an advance has submitted it. Raises QueueFull, ValueError."""
        stream: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        self._arrivals.append(_Arrival(order, sequence, finish_reason, hangup_after, stream))
        self._count(order)
        return await stream

    def refused(self, order: int) -> None:
        """It is answered without a step: it ends now. No effect on one that has arrived."""
        if order not in self._counted:
            self._count(order)
            self._ended.append(order)

    def cancel(self, stream: Stream) -> None:
        """The client is gone: its request ends now. No effect once it has ended by itself."""
        if (client := self._clients.pop(stream.sequence.id, None)) is not None:
            self.fleet.cancel(stream.sequence)
            self._ended.append(client.order)
        stream.cancel()

    async def advance(self, until_s: float | None, sent: int) -> Advanced:
        """To `until_s` (None: as far as it takes) or the first end of a request. sent: requests so
        far. Raises Disagreement where they do not come, or more than these do."""
        await self._all_here(sent)
        self._submit()
        limit_s = math.inf if until_s is None else until_s
        steps = 0
        while not self._ended:
            if self._held:
                if limit_s <= self._reached_s:
                    break
                self._end_held()
                continue
            start_s = self.fleet.next_time(self._reached_s)
            if start_s is None or limit_s <= start_s:
                break
            self._reached_s, emissions = self.fleet.step(start_s)
            self._deliver(emissions)
            steps += 1
            if steps % _STEPS_AT_ONCE == 0:
                await self._give_way()
        else:
            self._wake()
            return self._report(self.now_s)
        self._wake()
        if until_s is None:
            raise Disagreement("nothing is under way, and nothing is to come")
        return self._report(max(self.now_s, until_s))

    def close(self) -> None:
        """The run is over: whoever still waits is let go."""
        for arrival in self._arrivals:
            arrival.stream.cancel()
        for client in list(self._clients.values()):
            self.cancel(client.stream)

    def _count(self, order: int) -> None:
        self._counted.add(order)
        self._changed.set()

    async def _all_here(self, sent: int) -> None:
        try:
            async with asyncio.timeout(ARRIVAL_LIMIT_S):
                while len(self._counted) < sent:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        if len(self._counted) != sent:
            raise Disagreement(f"{len(self._counted)} requests have arrived, {sent} were sent")

    def _submit(self) -> None:
        """In the order in which they were sent, all at this second: parsing took none."""
        arrivals, self._arrivals = sorted(self._arrivals, key=lambda a: a.order), []
        for arrival in arrivals:
            try:
                self.fleet.submit(arrival.sequence, self.now_s)
            except (QueueFull, ValueError) as error:
                self._ended.append(arrival.order)
                if not arrival.stream.cancelled():
                    arrival.stream.set_exception(error)
                continue
            stream = Stream(arrival.sequence, arrival.finish_reason, 0.0)
            self._clients[arrival.sequence.id] = _Client(
                arrival.order, stream, arrival.hangup_after
            )
            if arrival.stream.cancelled():
                self.cancel(stream)
            else:
                arrival.stream.set_result(stream)

    def _deliver(self, emissions: list[Emission]) -> None:
        """Tokens to their streams. Who ends is held back until the generator has come so far."""
        at_s = self._reached_s
        for sequence, num_tokens, finished in emissions:
            client = self._clients.get(sequence.id)
            if client is None:
                continue
            stream = client.stream
            if stream.last_token_at_s is None:
                self._observer.first_token(sequence.replica, at_s - sequence.arrived_at_s)
            else:
                self._observer.gap(sequence.replica, at_s - stream.last_token_at_s)
            stream.take(num_tokens, at_s, finished)
            if client.chunks_left is not None:
                client.chunks_left -= 1
            if finished or client.chunks_left == 0:
                # Its writer is through long before the generator has come so far: from now on a
                # client that leaves changes nothing.
                self._held.append(self._clients.pop(sequence.id))
                stream.wake()
        if emissions:
            self._observer.iteration(emissions[0][0].replica, iteration_tokens(emissions))

    def _end_held(self) -> None:
        self.now_s = self._reached_s
        held, self._held = self._held, []
        for client in held:
            if client.stream.finished:
                self._observer.finished(client.stream)
            else:  # its client hangs up at this chunk
                self.fleet.cancel(client.stream.sequence)
            self._ended.append(client.order)

    async def _give_way(self) -> None:
        self._wake()
        await asyncio.sleep(0)

    def _wake(self) -> None:
        for client in self._clients.values():
            if client.stream.has_news:
                client.stream.wake()

    def _report(self, now_s: float) -> Advanced:
        self.now_s = now_s
        ended, self._ended = tuple(self._ended), []
        return Advanced(now_s, ended)
