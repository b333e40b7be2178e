"""What a developer does next: each outcome, Retry-After, sub-agents, the places it waits in."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.measure.record import OUTCOMES
from workload.life import ENDS_SESSION, Life, LifeError
from workload.profile import Subagents
from workload.profiles import SEED
from workload.session import sessions
from workload.source import SourceSession
from workload.tickets import Due

# Of SEED with seed 3 the first session, met in mid-life, has 13 turns.
GROWS, NEW = Due(0.0, grows=True), Due(0.0)
WITH_AGENTS = replace(SEED, subagents=Subagents(session_share=1.0))


def life(profile=SEED, seed: int = 3) -> Life:
    return Life(sessions(profile, seed, 0, 0))


def names(seed: int = 3) -> list[str]:
    return [session.name for session in islice(sessions(SEED, seed, 0, 0), 3)]


def at_work(profile=SEED, seed: int = 3) -> Life:
    """Its first turn is taken."""
    one = life(profile, seed)
    one.take(GROWS)
    return one


def behind_agents() -> Life:
    """Its turn ended at second 100; the next one has sub-agents."""
    one = at_work(WITH_AGENTS)
    while one.end("ok", 100.0) != "agents":
        one.take(NEW)
    return one


def left_of(session: SourceSession) -> list:
    return list(iter(session.next_turn, None))


def test_a_developer_that_grows_the_traffic_is_met_in_its_first_session():
    one = life()
    assert (one.place, one.has_session) == ("unstarted", False)
    one.take(GROWS)
    assert (one.state, one.session.name, one.turn.kind) == ("taken", names()[0], "start")


@pytest.mark.parametrize("opened", [True, False])
def test_one_that_does_not_starts_the_second_session(opened):
    one = life()
    if opened:
        assert one.open()
    one.take(NEW)
    assert one.session.name == names()[1]


def test_only_the_first_ticket_chooses_the_session():
    one = at_work()
    first = one.session
    assert one.end("ok", 10.0) == "ready"
    one.take(NEW)
    assert one.session is first and one.turn.index == 1


def test_the_first_turn_waits_for_its_pause():
    one = life()
    one.open()
    one.pause(50.0)
    assert one.ready_at_s == 50.0 + one.turn.gap_s


@pytest.mark.parametrize("outcome", sorted(set(OUTCOMES) - ENDS_SESSION))
def test_the_session_goes_on_after_its_own_pause(outcome):
    expected = next(sessions(SEED, 3, 0, 0))
    expected.next_turn()
    after = expected.next_turn()
    one = at_work()
    assert one.end(outcome, 70.0) == "ready" == one.place
    assert one.turn == after
    assert one.ready_at_s == 70.0 + after.gap_s


def test_a_prompt_that_was_too_long_ends_the_session():
    assert set(OUTCOMES) >= ENDS_SESSION == {"context_overflow"}
    one = at_work()
    assert one.end("context_overflow", 70.0) == "idle" == one.place
    assert not one.has_session
    one.take(NEW)  # a replacement: the next session, not the one after it
    assert one.session.name == names()[1]


def test_a_session_ends_by_itself():
    turns = left_of(next(sessions(SEED, 3, 0, 0)))
    one = at_work()
    seen = [one.turn]
    while one.end("ok", 1.0) == "ready":
        seen.append(one.turn)
        one.take(NEW)
    assert (one.state, seen) == ("idle", turns)


@given(retry_after_s=st.floats(0, 1e4), ended_at_s=st.floats(0, 1e6))
def test_the_longer_of_pause_and_retry_after_counts(retry_after_s, ended_at_s):
    one = at_work()
    one.end("http_429", ended_at_s, retry_after_s)
    assert one.ready_at_s == ended_at_s + max(one.turn.gap_s, retry_after_s)


def test_nothing_is_sent_before_a_ticket_nor_at_rest():
    one = life()
    assert not one.may_send(resting=False)
    one.take(GROWS)
    assert one.may_send(resting=False) and not one.may_send(resting=True)
    turn = one.turn
    one.take(NEW)  # let pass, and taken again: the same turn
    assert one.turn is turn
    one.end("ok", 1.0)
    assert not one.may_send(resting=False)


@pytest.mark.parametrize(("gap_over", "ready_at_s"), [(True, 1e6), (False, None)])
def test_a_turn_is_ready_when_its_last_agent_is_through(gap_over, ready_at_s):
    one = behind_agents()
    own_s = 100.0 + one.turn.gap_s
    agents = one.call_agents()
    assert len(agents) == one.turn.subagents
    assert [a.state for a in agents] == ["ready"] * len(agents)
    over_s = 1e6 if gap_over else 100.0
    for _ in agents[1:]:
        assert not one.agent_over(99.0)
        assert one.state == "agents"
    assert one.agent_over(over_s)
    assert one.state == one.place == "ready"
    assert one.ready_at_s == (own_s if ready_at_s is None else ready_at_s)


def test_an_agent_works_through_its_one_session():
    parent = behind_agents()
    expected = left_of(parent.session.subagent(0))
    agent = parent.call_agents()[0]
    assert agent.open()
    agent.pause(5.0)
    assert agent.ready_at_s == 5.0  # an agent's first turn has no pause
    seen = []
    while agent.state == "ready":
        assert agent.place == "ready"
        agent.take(NEW)
        seen.append(agent.turn)
        agent.end("ok", 6.0)
    assert (agent.state, seen) == ("over", expected)


def test_an_overflow_ends_an_agent():
    agent = behind_agents().call_agents()[0]
    agent.take(GROWS)
    assert agent.end("context_overflow", 1.0) == "over"


def test_a_life_without_a_turn_is_over():
    assert not (agent := Life([], agent=True)).open()
    assert agent.state == "over"


def test_agents_that_failed_are_waited_for_no_longer():
    one = behind_agents()
    one.call_agents()
    ready_at_s = one.ready_at_s
    one.give_up_agents()
    assert (one.state, one.ready_at_s) == ("ready", ready_at_s)


def test_what_the_table_does_not_know_is_refused():
    new, over, waiting = life(), Life([], agent=True), behind_agents()
    over.open()
    for refused in (
        lambda: new.turn,
        lambda: new.session,
        lambda: new.end("ok", 0.0),
        lambda: new.call_agents(),
        lambda: new.agent_over(0.0),
        lambda: new.give_up_agents(),
        lambda: over.place,
        lambda: over.take(GROWS),
        lambda: waiting.place,
        lambda: waiting.take(NEW),
        lambda: waiting.end("ok", 0.0),
        lambda: waiting.agent_over(0.0),  # none was called
        lambda: at_work().call_agents(),
    ):
        with pytest.raises(LifeError):
            refused()


@given(seed=st.integers(0, 50), outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=60))
def test_whatever_the_engine_answers_a_life_goes_on(seed, outcomes):
    """Time never runs backwards, and every session's turns come in order, none left out."""
    one, now_s, last = life(WITH_AGENTS, seed), 0.0, ("", -1)
    for outcome in outcomes:
        one.take(GROWS)
        turn = one.turn
        assert turn.index == (last[1] + 1 if turn.session == last[0] else 0)
        last = turn.session, turn.index
        now_s += 1.0
        state = one.end(outcome, now_s, 2.0)
        assert state in ("ready", "agents", "idle")
        assert state == "idle" or one.ready_at_s >= now_s + 2.0
        if state == "agents":
            for _ in one.call_agents():
                one.agent_over(now_s)
        now_s = max(now_s, one.ready_at_s)
