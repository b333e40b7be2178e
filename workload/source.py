"""Source: where sessions come from, a profile's laws or a trace; what both can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from workload import fidelity, session, tickets
from workload.figures import Workload
from workload.profile import Profile
from workload.replay import Replay, ReplayedSession
from workload.session import Session

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
