"""Driven time: the engine goes as far as it is told, and no further than the first end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tokenswarm.engine.core.fleet import Fleet
from tokenswarm.engine.core.scheduler import QueueFull
from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.engine.server import driven
from tokenswarm.engine.server.driven import Disagreement, DrivenEngine
from tokenswarm.engine.server.live import Stream
from tokenswarm.engine.server.metrics import EngineMetrics

PRESET = PRESETS["trtllm-like"]


def sequence(number: int, prompt: int = 5_000, output: int = 20) -> Sequence:
    return Sequence(id=number, prompt_tokens=prompt, output_tokens=output, segments=())


def run(scenario: Callable[[DrivenEngine], Awaitable[None]], **policy: Any) -> None:
    async def begun() -> None:
        preset = replace(PRESET, policy=replace(PRESET.policy, **policy))
        await scenario(DrivenEngine(preset.fleet(1), EngineMetrics("m", "e")))

    asyncio.run(begun())


async def send(engine: DrivenEngine, *orders: int, hangup_after: int | None = None, **size: int):
    """Requests that have arrived and wait for the next advance."""
    tasks = [
        asyncio.create_task(engine.arrived(n, sequence(n, **size), "stop", hangup_after))
        for n in orders
    ]
    await asyncio.sleep(0)
    return tasks


def alone(number: int, **size: int) -> tuple[Fleet, float, list[float]]:
    """When a lone sequence's chunks come, by the engine's core itself."""
    engine = PRESET.fleet(1)
    engine.submit(sequence(number, **size), 0.0)
    now_s, chunks = 0.0, []
    while (start_s := engine.next_time(now_s)) is not None:
        now_s, emissions = engine.step(start_s)
        chunks += [now_s] * len(emissions)
    return engine, now_s, chunks


def test_a_request_ends_when_the_core_says():
    _, end_s, chunks = alone(0)

    async def scenario(engine: DrivenEngine) -> None:
        (task,) = await send(engine, 0)
        assert await engine.advance(None, 1) == driven.Advanced(end_s, (0,))
        stream = await task
        assert [piece.at_s for piece in await stream.news()] == chunks
        assert stream.finished and stream.num_tokens == 20

    run(scenario)


def test_time_stops_at_what_the_generator_wants_to_do_next():
    async def scenario(engine: DrivenEngine) -> None:
        assert await engine.advance(7.5, 0) == driven.Advanced(7.5, ())
        await send(engine, 0)
        half = await engine.advance(7.6, 1)
        assert half == driven.Advanced(7.6, ())
        end = await engine.advance(None, 1)
        assert end.ended == (0,) and end.now_s > 7.6

    run(scenario)


def test_what_a_step_ends_beyond_the_promise_is_kept_for_later():
    """A step is not cut: its end lies after t, and an arrival at t comes before that end."""
    _, end_s, chunks = alone(0)
    just_before_s = (chunks[-2] + chunks[-1]) / 2

    async def scenario(engine: DrivenEngine) -> None:
        await send(engine, 0)
        assert await engine.advance(just_before_s, 1) == driven.Advanced(just_before_s, ())
        (late,) = await send(engine, 1)
        assert await engine.advance(None, 2) == driven.Advanced(end_s, (0,))
        assert (await late).sequence.arrived_at_s == just_before_s

    run(scenario)


def test_arrivals_of_one_instant_are_served_in_the_order_they_were_sent():
    async def ends(orders: tuple[int, ...]) -> list[tuple[float, tuple[int, ...]]]:
        engine = DrivenEngine(PRESET.fleet(1), EngineMetrics("m", "e"))
        await send(engine, *orders)
        seen: list[tuple[float, tuple[int, ...]]] = []
        while sum(len(e) for _, e in seen) < len(orders):
            advanced = await engine.advance(None, len(orders))
            seen.append((advanced.now_s, advanced.ended))
        return seen

    one = asyncio.run(ends((0, 1, 2, 3)))
    assert asyncio.run(ends((3, 1, 0, 2))) == one


def test_a_planned_hangup_ends_at_its_chunk_and_frees_the_engine():
    _, _, chunks = alone(0)

    async def scenario(engine: DrivenEngine) -> None:
        (task,) = await send(engine, 0, hangup_after=3)
        assert await engine.advance(None, 1) == driven.Advanced(chunks[2], (0,))
        stream = await task
        assert not stream.finished and engine.fleet.replicas[0].counters.num_cancelled == 1
        engine.cancel(stream)  # its client does hang up: the writer is let go
        assert stream.cancelled and engine.fleet.replicas[0].counters.num_cancelled == 1

    run(scenario)


def test_a_client_that_is_through_early_changes_nothing():
    """The last chunk is written before the generator has come so far."""
    _, end_s, chunks = alone(0)
    just_before_s = (chunks[-2] + chunks[-1]) / 2

    async def scenario(engine: DrivenEngine) -> None:
        (task,) = await send(engine, 0)
        await engine.advance(just_before_s, 1)
        stream = await task
        assert stream.finished
        engine.cancel(stream)
        assert await engine.advance(None, 1) == driven.Advanced(end_s, (0,))
        assert engine.fleet.replicas[0].counters.num_finished == 1

    run(scenario)


def test_what_is_refused_ends_at_once_and_counts_as_sent():
    async def scenario(engine: DrivenEngine) -> None:
        await engine.advance(3.0, 0)
        engine.refused(0)
        engine.refused(0)
        assert await engine.advance(None, 1) == driven.Advanced(3.0, (0,))

    run(scenario)


def test_a_full_queue_refuses_at_that_second():
    async def scenario(engine: DrivenEngine) -> None:
        tasks = await send(engine, 0, 1, 2)
        advanced = await engine.advance(None, 3)
        assert advanced == driven.Advanced(0.0, (1, 2))
        with pytest.raises(QueueFull):
            await tasks[1]

    run(scenario, queue_limit=1)


def test_an_advance_waits_for_the_requests_that_were_sent():
    async def scenario(engine: DrivenEngine) -> None:
        advance = asyncio.create_task(engine.advance(None, 2))
        await send(engine, 0)
        await asyncio.sleep(0.01)
        assert not advance.done()
        await send(engine, 1)
        assert (await advance).ended

    run(scenario)


def test_counts_that_do_not_meet_are_said(monkeypatch):
    monkeypatch.setattr(driven, "ARRIVAL_LIMIT_S", 0.01)

    async def scenario(engine: DrivenEngine) -> None:
        await send(engine, 0)
        with pytest.raises(Disagreement, match="1 requests have arrived, 2 were sent"):
            await engine.advance(None, 2)
        with pytest.raises(Disagreement, match="1 requests have arrived, 0 were sent"):
            await engine.advance(None, 0)

    run(scenario)


def test_nothing_to_wait_for_is_said():
    async def scenario(engine: DrivenEngine) -> None:
        with pytest.raises(Disagreement, match="nothing is under way"):
            await engine.advance(None, 0)

    run(scenario)


def test_a_client_that_leaves_unasked_frees_its_blocks_and_ends_then():
    async def scenario(engine: DrivenEngine) -> None:
        (task,) = await send(engine, 0, output=2_000)
        assert await engine.advance(0.5, 1) == driven.Advanced(0.5, ())
        stream: Stream = await task
        engine.cancel(stream)
        assert engine.fleet.replicas[0].scheduler.num_running == 0
        assert await engine.advance(9.0, 1) == driven.Advanced(0.5, (0,))

    run(scenario)
