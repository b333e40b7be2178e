"""The engine core in real time: a loop for each replica steps it and hands tokens out at
their wall deadlines."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from tokenswarm.engine.core.engine import Emission
from tokenswarm.engine.core.fleet import Fleet
from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.server.clock import Lateness, VirtualClock

# Above speed 1 a stream is written at most this often (wall): a chunk per engine step would be
# 50 times as many bytes and wake-ups as a real endpoint sends at x20. docs/engine.md 7, rule 3.
COALESCE_S = 0.010


class Piece(NamedTuple):
    """What is written as one chunk: the output up to `num_tokens`. at_s: the engine second at which
    it left, told in driven time only."""

    num_tokens: int
    at_s: float | None


class Stream:
    """What one request has been given so far. Counts, not text: an unread stream stays small.

    finish_reason: as vLLM's metrics have it, "stop" or "length". last_token_at_s: engine time.
    """

    def __init__(self, sequence: Sequence, finish_reason: str, coalesce_s: float) -> None:
        self.sequence = sequence
        self.finish_reason = finish_reason
        self.num_tokens = 0
        self.last_token_at_s: float | None = None
        self.finished = False
        self.cancelled = False
        self._coalesce_s = coalesce_s
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._taken_at_s = float("-inf")  # loop time
        self._timer: asyncio.TimerHandle | None = None
        self._pieces: list[Piece] = []

    async def news(self) -> list[Piece]:
        """Waits for more tokens, the end, or cancellation; returns what is new."""
        await self._woken.wait()
        self._woken.clear()
        self._taken_at_s = self._loop.time()
        pieces, self._pieces = self._pieces, []
        return pieces

    @property
    def has_news(self) -> bool:
        """Whether there is something that nobody has taken."""
        return bool(self._pieces)

    def take(self, num_tokens: int, at_s: float, finished: bool) -> None:
        """In driven time: each step's tokens are a chunk of their own."""
        self._add(num_tokens, at_s, finished)
        self._pieces.append(Piece(self.num_tokens, at_s))

    def deliver(self, num_tokens: int, at_s: float, finished: bool) -> None:
        """In wall time: a chunk has what came since the last one was written."""
        self._add(num_tokens, at_s, finished)
        self._pieces = [Piece(self.num_tokens, None)]
        due_s = self._taken_at_s + self._coalesce_s
        if finished or not self._coalesce_s or self._loop.time() >= due_s:
            self.wake()
        elif self._timer is None:
            self._timer = self._loop.call_at(due_s, self.wake)

    def cancel(self) -> None:
        self.cancelled = True
        self.wake()

    def _add(self, num_tokens: int, at_s: float, finished: bool) -> None:
        self.num_tokens += num_tokens
        self.last_token_at_s = at_s
        self.finished = finished

    def wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._woken.set()


class Observer(Protocol):
    """Whoever keeps the statistics, of each replica. Engine seconds, but for the lateness: wall
    seconds."""

    def first_token(self, replica: int, ttft_s: float) -> None: ...

    def gap(self, replica: int, gap_s: float) -> None:
        """Between two steps that brought tokens of one sequence."""

    def iteration(self, replica: int, num_tokens: int) -> None:
        """A step with output: its output tokens, and the prompts whose first token came."""

    def finished(self, stream: Stream) -> None: ...

    def step_late(self, replica: int, late_s: float) -> None: ...


class LiveEngine:
    """Runs a fleet by `clock`. Everything happens on one event loop; `run` has a task for each
    replica, as their steps overlap.

    step_lateness: a step's last chunk written after the step's deadline. arrival_lateness: requests
    submitted after the scheduler should have seen them (their body or its tokenising took longer
    than ttft_fixed). Both in wall seconds.
    """

    def __init__(self, fleet: Fleet, clock: VirtualClock, observer: Observer) -> None:
        self.fleet = fleet
        self.clock = clock
        self.step_lateness = Lateness()
        self.arrival_lateness = Lateness()
        self._observer = observer
        self._coalesce_s = COALESCE_S if clock.speed > 1 else 0.0
        self._streams: dict[int, Stream] = {}
        self._submitted = [asyncio.Event() for _ in fleet.replicas]

    def submit(self, sequence: Sequence, arrived_at_s: float, finish_reason: str) -> Stream:
        """Raises QueueFull, or ValueError where the sequence could never fit."""
        self.fleet.submit(sequence, arrived_at_s)
        self.arrival_lateness.observe(self.clock.late_s(sequence.ready_at_s))
        stream = self._streams[sequence.id] = Stream(sequence, finish_reason, self._coalesce_s)
        self._submitted[sequence.replica].set()
        return stream

    def cancel(self, stream: Stream) -> None:
        """Free the sequence's blocks now. No effect once it has finished."""
        if self._streams.pop(stream.sequence.id, None) is not None:
            self.fleet.cancel(stream.sequence)
            stream.cancel()

    def reset(self) -> None:
        """Empty the prefix caches, zero the counters; streams in flight go on."""
        self.fleet.reset()
        self.step_lateness.clear()
        self.arrival_lateness.clear()

    async def run(self) -> None:
        """Step for ever."""
        async with asyncio.TaskGroup() as replicas:
            for replica in range(len(self.fleet.replicas)):
                replicas.create_task(self._run(replica))

    async def _run(self, replica: int) -> None:
        """Steps follow each other in engine time, so a late one is caught up."""
        engine, submitted = self.fleet.replicas[replica], self._submitted[replica]
        loop = asyncio.get_running_loop()
        reached_s = 0.0
        while True:
            start_s = engine.next_time(reached_s)
            if start_s is None:
                submitted.clear()
                await submitted.wait()
                continue
            if start_s > reached_s:
                await self.clock.sleep_until(start_s)
            end_s, emissions = engine.step(start_s)
            await self.clock.sleep_until(end_s)
            reached_s = end_s
            for sequence, num_tokens, finished in emissions:
                self._deliver(sequence, num_tokens, end_s, finished)
            if emissions:
                self._observer.iteration(replica, iteration_tokens(emissions))
                # Behind the writers that were just woken: the loop's queue is first in, first out.
                loop.call_soon(self._written, replica, end_s)

    def _deliver(self, sequence: Sequence, num_tokens: int, at_s: float, finished: bool) -> None:
        stream = self._streams.get(sequence.id)
        if stream is None:  # cancelled while the step ran
            return
        if stream.last_token_at_s is None:
            self._observer.first_token(sequence.replica, at_s - sequence.arrived_at_s)
        else:
            self._observer.gap(sequence.replica, at_s - stream.last_token_at_s)
        stream.deliver(num_tokens, at_s, finished)
        if finished:
            del self._streams[sequence.id]
            self._observer.finished(stream)

    def _written(self, replica: int, due_s: float) -> None:
        late_s = self.clock.late_s(due_s)
        self.step_lateness.observe(late_s)
        self._observer.step_late(replica, late_s)


def iteration_tokens(emissions: list[Emission]) -> int:
    """As vLLM's IterationStats: a prompt counts as a whole, in the step that ends its prefill."""
    return sum(
        num_tokens + (sequence.prompt_tokens if sequence.num_emitted == num_tokens else 0)
        for sequence, num_tokens, _ in emissions
    )
