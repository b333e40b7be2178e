"""Source: where sessions come from, a profile's laws or a trace; what both can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from workload import fidelity, session, tickets
from workload.figures import Workload
from workload.profile import Profile
from workload.profiles import load_profile
from workload.replay import Replay, ReplayedSession, Timing
from workload.session import Session
from workload.traces.read import read_trace

Source: TypeAlias = Profile | Replay
SourceSession: TypeAlias = Session | ReplayedSession


def sessions(source: Source, seed: int, worker: int, user: int) -> Iterator[SourceSession]:
    """The endless sessions of one developer."""
    if isinstance(source, Replay):
        return source.sessions(seed, worker, user)
    return session.sessions(source, seed, worker, user)


def mean_prompt_tokens(source: Source) -> float:
    """What a ticket counts before it is taken."""
    if isinstance(source, Replay):
        return source.mean_prompt_tokens
    return tickets.mean_prompt_tokens(source)


def session_tpm(source: Source) -> float:
    """Input tokens per minute of one session that follows its own pauses."""
    return source.session_tpm if isinstance(source, Replay) else tickets.session_tpm(source)


def workload(source: Source) -> Workload:
    """What a run's traffic is held to."""
    if isinstance(source, Replay):
        return fidelity.replayed(source)
    return fidelity.workload(source)


def load_source(profile: str, trace: Path | None, timing: Timing) -> Source:
    """The trace where there is one, else the profile. Raises TraceError, ProfileError."""
    if trace is None:
        return load_profile(profile)
    return _replay(trace, timing, _changed_at(trace))


@lru_cache(maxsize=1)
def _replay(trace: Path, timing: Timing, changed_at: float) -> Replay:
    """Kept while nothing has changed: a run asks for it more than once."""
    return Replay(read_trace(trace), timing)


def _changed_at(trace: Path) -> float:
    """When a file of it was written last; 0 where there is none."""
    files = (path for path in (trace, *trace.rglob("*")) if path.exists())
    return max((file.stat().st_mtime for file in files), default=0.0)
