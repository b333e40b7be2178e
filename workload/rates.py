"""Rates: what a profile's turns and developers come to, by a small seeded simulation."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from workload import fidelity
from workload.day import day
from workload.profile import Profile
from workload.session import Session

_SIMULATED_SESSIONS = 500
_SIMULATED_TURNS = 15_000  # a rate right to 2% for profile seed, whose sessions are short


@lru_cache(maxsize=64)
def mean_prompt_tokens(profile: Profile) -> float:
    """The mean prompt of 500 simulated sessions: what a ticket counts before it is taken."""
    return float(fidelity.simulate(profile, _SIMULATED_SESSIONS, seed=0).prompt_tokens.mean())


@lru_cache(maxsize=64)
def developer_tpm(profile: Profile) -> float:
    """Input tokens per minute of a developer who follows its own pauses on an engine that keeps up:

        sum of prompt tokens * 60 / sum of (pause + service)

    over simulated sessions with their sub-agents. Pauses count with their means; the pause of a
    turn that has sub-agents is as long as the longest of them works.
    """
    turns, tokens, seconds = 0, 0, 0.0
    lives = np.random.SeedSequence(0)
    while turns < _SIMULATED_TURNS:
        (life,) = lives.spawn(1)
        session = Session(profile, np.random.default_rng(life), "")
        work = _work(session, day(profile).service_s)
        turns, tokens, seconds = turns + work.turns, tokens + work.tokens, seconds + work.seconds
    return tokens * 60 / seconds


class _Work(NamedTuple):
    """Of a whole session on its own pauses; tokens: of its sub-agents too."""

    turns: int
    tokens: int
    seconds: float


def _work(session: Session, service_s: float) -> _Work:
    profile = session.profile
    human_s, tool_s = profile.human_gap_s.mean, profile.tool_gap_s.mean
    mixed_s = profile.tool_share * tool_s + (1 - profile.tool_share) * human_s
    pause_s = {"start": human_s, "user": human_s, "tool": tool_s, "compaction": mixed_s}
    turns, tokens, seconds = 0, 0, 0.0
    for turn in iter(session.next_turn, None):
        agents = [_work(session.subagent(k), service_s) for k in range(turn.subagents)]
        turns += 1
        tokens += turn.prompt_tokens + sum(agent.tokens for agent in agents)
        # A sub-agent's first turn has no pause of its own.
        longest_s = max((agent.seconds - human_s for agent in agents), default=0.0)
        seconds += max(pause_s[turn.kind], longest_s) + service_s
    return _Work(turns, tokens, seconds)
