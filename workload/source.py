"""Source: where sessions come from, a profile's laws or a trace, and what all can be asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeAlias

from workload import fidelity, rates, session
from workload.figures import Sample, Workload
from workload.habits import HabitSession, require_habits
from workload.kept_promise import promise_of
from workload.profile import Profile
from workload.profiles import load_profile
from workload.replay import Replay, ReplayedSession, Timing
from workload.session import Session
from workload.traces.read import read_trace

SourceSession: TypeAlias = Session | ReplayedSession | HabitSession
_HABIT_TURNS = 20_000  # of a simulation of sessions with habits; guess


class Habitual:
    """A profile or a trace whose sessions have habits."""

    def __init__(self, base: Profile | Replay, habits: tuple[str, ...]) -> None:
        self.base = base
        self.habits = habits
        self.name = "+".join((base.name, *habits))
        self.min_prompt_tokens = 1  # a summary may leave little
        self.max_prompt_tokens = base.max_prompt_tokens
        self.max_output_tokens = base.max_output_tokens

    def fingerprint(self) -> str:
        """12 hex digits over the base's and the habits."""
        text = "+".join((self.base.fingerprint(), *self.habits))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def sessions(self, seed: int, worker: int, user: int) -> Iterator[HabitSession]:
        """Those of the base, with the habits."""
        for each in sessions(self.base, seed, worker, user):
            assert not isinstance(each, HabitSession)
            yield HabitSession(each, self.habits)

    @cached_property
    def sample(self) -> Sample:
        """Fresh sessions, simulated."""
        if isinstance(self.base, Replay):
            fresh: Iterator[Session | ReplayedSession] = self.base.each_session()
        else:
            fresh = fidelity.fresh_sessions(self.base)
        habitual = (HabitSession(each, self.habits) for each in fresh)
        return fidelity.sample_of_fresh(habitual, _HABIT_TURNS)


Source: TypeAlias = Profile | Replay | Habitual


def sessions(source: Source, seed: int, worker: int, user: int) -> Iterator[SourceSession]:
    """The endless sessions of one developer."""
    if isinstance(source, Profile):
        return session.sessions(source, seed, worker, user)
    return source.sessions(seed, worker, user)


def mean_prompt_tokens(source: Source) -> float:
    """What a ticket counts before it is taken."""
    if isinstance(source, Profile):
        return rates.mean_prompt_tokens(source)
    if isinstance(source, Replay):
        return source.mean_prompt_tokens
    return float(source.sample.prompt_tokens.mean())


def developer_tpm(source: Source) -> float:
    """Input tokens per minute of one developer who follows its own pauses."""
    if isinstance(source, Profile):
        return rates.developer_tpm(source)
    if isinstance(source, Replay):
        return source.developer_tpm
    base = source.base
    return developer_tpm(base) * mean_prompt_tokens(source) / mean_prompt_tokens(base)


def workload(source: Source) -> Workload:
    """What a run's traffic is held to."""
    if isinstance(source, Profile):
        return promise_of(source)
    if isinstance(source, Replay):
        return fidelity.replayed(source)
    return fidelity.workload_of_sample(source.sample)


def load_source(
    profile: str, trace: Path | None, timing: Timing, habits: Sequence[str] = ()
) -> Source:
    """The trace where there is one, else the profile; with habits, if there are any. Raises
    TraceError, ProfileError, HabitError."""
    names = require_habits(habits)
    base = load_profile(profile) if trace is None else _replay(trace, timing, _changed_at(trace))
    return Habitual(base, names) if names else base


@lru_cache(maxsize=1)
def _replay(trace: Path, timing: Timing, changed_at: float) -> Replay:
    """Kept while nothing has changed: a run asks for it more than once."""
    return Replay(read_trace(trace), timing)


def _changed_at(trace: Path) -> float:
    """When a file of it was written last; 0 where there is none."""
    files = (path for path in (trace, *trace.rglob("*")) if path.exists())
    return max((file.stat().st_mtime for file in files), default=0.0)
