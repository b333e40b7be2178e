"""The engine core in real time: one loop steps it and hands tokens out at their wall deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engine.clock import Lateness, VirtualClock
from engine.core import Engine
from engine.sequence import Sequence

# Above speed 1 a stream is written at most this often (wall): a chunk per engine step would be
# 50 times as many bytes and wake-ups as a real endpoint sends at x20. ENGINE.md 7, rule 3.
COALESCE_S = 0.010


class Stream:
    """What one request has been given so far. Counts, not text: an unread stream stays small."""

    def __init__(self, sequence: Sequence, coalesce_s: float) -> None:
        self.sequence = sequence
        self.num_tokens = 0
        self.finished = False
        self.cancelled = False
        self._coalesce_s = coalesce_s
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._taken_at_s = float("-inf")  # loop time
        self._timer: asyncio.TimerHandle | None = None

    async def news(self) -> int:
        """Waits for more tokens, the end, or cancellation; returns the tokens so far."""
        await self._woken.wait()
        self._woken.clear()
        self._taken_at_s = self._loop.time()
        return self.num_tokens

    def deliver(self, num_tokens: int, finished: bool) -> None:
        self.num_tokens += num_tokens
        self.finished = finished
        due_s = self._taken_at_s + self._coalesce_s
        if finished or not self._coalesce_s or self._loop.time() >= due_s:
            self.wake()
        elif self._timer is None:
            self._timer = self._loop.call_at(due_s, self.wake)

    def cancel(self) -> None:
        self.cancelled = True
        self.wake()

    def wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._woken.set()


class LiveEngine:
    """Runs `engine` by `clock`. Everything happens on one event loop; `run` is its only task.

    step_lateness: tokens handed out after their deadline. arrival_lateness: requests submitted
    after the scheduler should have seen them (their body or its tokenising took longer than
    ttft_fixed). Both in wall seconds. on_first_token gets every finished prefill's sequence.
    """

    def __init__(
        self, engine: Engine, clock: VirtualClock, on_first_token: Callable[[Sequence], None]
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.step_lateness = Lateness()
        self.arrival_lateness = Lateness()
        self._on_first_token = on_first_token
        self._coalesce_s = COALESCE_S if clock.speed > 1 else 0.0
        self._streams: dict[int, Stream] = {}
        self._submitted = asyncio.Event()

    def submit(self, sequence: Sequence, arrived_at_s: float) -> Stream:
        """Raises QueueFull, or ValueError where the sequence could never fit."""
        self.engine.submit(sequence, arrived_at_s)
        self.arrival_lateness.observe(self.clock.late_s(sequence.ready_at_s))
        stream = self._streams[sequence.id] = Stream(sequence, self._coalesce_s)
        self._submitted.set()
        return stream

    def cancel(self, stream: Stream) -> None:
        """Free the sequence's blocks now. No effect once it has finished."""
        if self._streams.pop(stream.sequence.id, None) is not None:
            self.engine.cancel(stream.sequence)
            stream.cancel()

    def reset(self) -> None:
        """Empty the prefix cache, zero the counters; streams in flight go on."""
        self.engine.reset()
        self.step_lateness.clear()
        self.arrival_lateness.clear()

    async def run(self) -> None:
        """Step for ever. Steps follow each other in engine time, so a late one is caught up."""
        reached_s = 0.0
        while True:
            start_s = self.engine.next_time(reached_s)
            if start_s is None:
                self._submitted.clear()
                await self._submitted.wait()
                continue
            if start_s > reached_s:
                await self.clock.sleep_until(start_s)
            end_s, emissions = self.engine.step(start_s)
            await self.clock.sleep_until(end_s)
            reached_s = end_s
            for sequence, num_tokens, finished in emissions:
                self._deliver(sequence, num_tokens, finished)
            if emissions:
                self.step_lateness.observe(self.clock.late_s(end_s))

    def _deliver(self, sequence: Sequence, num_tokens: int, finished: bool) -> None:
        stream = self._streams.get(sequence.id)
        if stream is None:  # cancelled while the step ran
            return
        if not stream.num_tokens:
            self._on_first_token(sequence)
        if finished:
            del self._streams[sequence.id]
        stream.deliver(num_tokens, finished)
