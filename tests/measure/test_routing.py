"""Routing from a client's side: what replicas served, what moving cost, by which policy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scripts.routing_policies import served
from tests.support.records import turn_record
from tokenswarm.engine.core.router import ROUTINGS
from tokenswarm.engine.offline import run as offline
from tokenswarm.engine.offline.run import Load
from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.measure.books import Reading
from tokenswarm.measure.record import TurnRecord
from tokenswarm.measure.routing import POLICIES, Served, guess, routing
from tokenswarm.measure.verdict import INVALID, SUSPECT, VALID
from tokenswarm.measure.verdict.of_routing import affinity, balance
from workload.profiles import PROFILES

SHARED = 200  # tokens of every start that all sessions share
SEEDS = 4  # of each policy; one may be undecided


def session(name: str, replicas: str, cached: list[int], at_s: float = 0.0) -> list[TurnRecord]:
    """Turns of 1,000 tokens, 900 of them sent before but for the start. " ": no header."""
    return [
        turn_record(
            session=name,
            turn=turn,
            kind="tool" if turn else "start",
            ideal_cached_tokens=900 if turn else SHARED,
            sent_at_s=at_s + 10 * turn,
            ended_at_s=at_s + 10 * turn + 5,
            cached_tokens=tokens,
            replica=replica.strip() or None,
        )
        for turn, (replica, tokens) in enumerate(zip(replicas, cached, strict=True))
    ]


def test_a_session_that_moves_meets_a_cold_replica():
    stays = session("a", "000", [200, 900, 900])
    moves = session("b", "0110", [200, 200, 900, 640], at_s=1)
    found = routing([*stays, *moves], ())
    assert found.source == "X-Replica"
    first, second = found.by_header
    assert (first.name, first.turns, second.name, second.turns) == ("0", 5, "1", 2)
    assert first.hit_share == pytest.approx(2840 / 5000)
    assert second.hit_share == pytest.approx(1100 / 2000)
    # Of five that continue, two moved; the second found more than half beyond what all share.
    assert (found.continuing, found.moved, found.cold, found.cold_moved) == (5, 2, 1, 1)
    assert found.refilled_tokens == 700 + 260
    assert (found.sessions, found.sessions_moved) == (2, 1)
    check = affinity(found)
    assert check.grade == SUSPECT and check.figure == pytest.approx(0.2)
    assert check.finding.startswith("of turns met a cold replica: affinity leaks, and 960 tokens")


def test_an_eviction_on_the_same_replica_is_not_the_routers():
    found = routing([*session("a", "00", [200, 200]), *session("b", "11", [200, 900])], ())
    assert (found.cold, found.cold_moved, found.refilled_tokens) == (1, 0, 0)
    assert affinity(found).grade == VALID


def test_without_a_header_cached_tokens_say_less_and_are_not_graded():
    found = routing(session("a", "   ", [200, 200, 200]), ())
    assert (found.source, found.moved, found.cold_share) == ("cached tokens", None, 1.0)
    check = affinity(found)
    assert check.grade is None and "evicted looks like" in check.finding


@pytest.mark.parametrize("replicas", ["000", "   "])
def test_where_nothing_tells_replicas_apart_nothing_is_said(replicas: str):
    assert routing(session("a", replicas, [200, 900, 900]), ()) is None
    assert routing([], ()) is None


def pages(*requests: int) -> list[Reading]:
    return [
        Reading(
            url=f"http://r{n}/metrics",
            at_s=at_s,
            engine="vLLM",
            values={"requests": share * count, "prompt_tokens": 1000.0 * share * count},
        )
        for at_s, share in ((-1.0, 0), (1000.0, 1))
        for n, count in enumerate(requests)
    ]


@pytest.mark.parametrize(
    ("requests", "grade"),
    [((448, 0), INVALID), ((400, 48), SUSPECT), ((240, 208), VALID), ((3, 0), None)],
)
def test_pages_show_a_replica_that_nobody_asked(requests, grade):
    found = routing(session("a", "00", [200, 900]), pages(*requests))
    check = balance(found)
    assert check.grade == grade
    if grade is not None:
        assert " to ".join(map(str, requests)) in check.finding


@pytest.mark.parametrize("policy", POLICIES)
def test_the_policy_is_told_from_a_clients_side(policy):
    """Told in all seeds but one; scripts/routing_policies.py asks a hundred."""
    preset = replace(PRESETS["trtllm-like"], replicas=4, routing=policy)
    load = Load(developers=32, hold_s=600)
    said = []
    for seed in range(1, SEEDS + 1):
        found = guess(served(offline.run(preset, PROFILES["seed"], load, seed)))
        said.append(None if found is None else found.policy)
    assert said.count(policy) >= SEEDS - 1
    assert set(said) <= {policy, None}


def test_too_few_turns_leave_the_policy_open():
    turns = [
        Served(session=str(n), from_nothing=True, sent_at_s=n, ended_at_s=n + 1, replica=str(n % 2))
        for n in range(2)
    ]
    found = guess(turns)
    assert found is not None and found.policy is None
    assert guess(turns[:1]) is None


def test_every_policy_of_the_engine_can_be_guessed():
    assert set(POLICIES) == set(ROUTINGS)
