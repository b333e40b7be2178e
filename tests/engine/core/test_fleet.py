"""The fleet and its router: replicas in one virtual time, and who is chosen."""

from __future__ import annotations

import pytest

from tokenswarm.engine.core.fleet import Fleet
from tokenswarm.engine.core.kv_cache import Segment
from tokenswarm.engine.core.router import MOST_AHEAD, Routing
from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.offline import run as offline
from tokenswarm.engine.offline.run import Load
from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.engine.physics.what_if import WhatIf
from workload.profiles import PROFILES

PRESET = PRESETS["trtllm-like"]


def fleet(routing: Routing, replicas: int = 3) -> Fleet:
    return WhatIf(replicas=replicas, routing=routing).apply(PRESET).fleet(seed=1)


def asked(number: int, session: str | None = None, key: str = "") -> Sequence:
    return Sequence(
        id=number,
        prompt_tokens=6_400,
        output_tokens=2,
        segments=(Segment(key or f"prompt {number}", 100),),
        session=session,
    )


def sent(to: Fleet, sequences: list[Sequence]) -> list[int]:
    """All at second 0; the replicas that they go to."""
    for sequence in sequences:
        to.submit(sequence, 0.0)
    return [sequence.replica for sequence in sequences]


def served(by: Fleet) -> list[tuple[float, int]]:
    """Until there is no work: when sequences ended, and which."""
    now_s, ended = 0.0, []
    while (at_s := by.next_time(now_s)) is not None:
        now_s, emissions = by.step(at_s)
        ended += [(now_s, sequence.id) for sequence, _, last in emissions if last]
    return ended


def test_round_robin_and_least_loaded_take_turns_among_equals():
    for routing in ("round-robin", "least-loaded"):
        assert sent(fleet(routing), [asked(n) for n in range(6)]) == [0, 1, 2, 0, 1, 2]


def test_least_loaded_goes_where_the_fewest_are():
    replicas = fleet("least-loaded")
    first, *_ = sequences = [asked(n) for n in range(5)]
    sent(replicas, sequences)  # 0 1 2 0 1
    replicas.cancel(first)
    assert sent(replicas, [asked(5)]) == [2]  # 1 2 1 requests: of 2 and 0, 2 was asked earlier


def test_sticky_goes_by_the_session_and_in_turn_without_one():
    replicas = fleet("sticky")
    names = [f"session {n}" for n in range(40)]
    first = sent(replicas, [asked(n, name) for n, name in enumerate(names)])
    assert set(first) == {0, 1, 2}
    assert sent(replicas, [asked(50 + n, name) for n, name in enumerate(names)]) == first
    assert sent(fleet("sticky"), [asked(n) for n in range(3)]) == [0, 1, 2]


def test_random_chooses_by_its_seed():
    numbers = [sent(fleet("random"), [asked(n) for n in range(30)]) for _ in range(2)]
    assert numbers[0] == numbers[1] and set(numbers[0]) == {0, 1, 2}


def test_prefix_aware_goes_where_the_prefix_is_until_that_one_is_far_busier():
    replicas = fleet("prefix-aware")
    sent(replicas, [asked(0, key="a"), asked(1, key="b")])
    served(replicas)
    again = [asked(10 + n, key="b") for n in range(MOST_AHEAD + 1)]
    assert sent(replicas, again) == [1] * MOST_AHEAD + [2]


def test_replicas_work_side_by_side_and_each_as_if_alone():
    alone = PRESET.fleet(1)
    sent(alone, [asked(0)])
    ((end_s, _),) = served(alone)
    together = served_together = fleet("round-robin")
    sent(together, [asked(0), asked(1), asked(2)])
    ended = served(served_together)
    assert ended[0] == (end_s, 0)
    assert max(at_s for at_s, _ in ended) < 1.2 * end_s  # one after the other: three times as long


def test_time_never_goes_back():
    replicas = fleet("random")
    sent(replicas, [asked(n) for n in range(12)])
    times = [at_s for at_s, _ in served(replicas)]
    assert times == sorted(times) and len(times) == 12


@pytest.mark.parametrize("routing", ["round-robin", "sticky"])
def test_affinity_shows_in_the_hits(routing: Routing):
    preset = WhatIf(replicas=4, routing=routing).apply(PRESET)
    run = offline.run(preset, PROFILES["seed"], Load(developers=24, hold_s=600), seed=1)
    hit = run.figures(0).hit_share
    assert hit is not None
    assert (hit > 0.8) if routing == "sticky" else (0.3 < hit < 0.65)
    assert {turn.replica for turn in run.turns} == {"0", "1", "2", "3"}
