"""Fidelity: what a profile promises, figure by figure, and whether turns keep it.

A target is the number stated with the profile where there is one (published by the study, or
computed where the profile was designed), else the closed form of the profile's law, else the figure
of a large seeded simulation; each promise says which. How a figure is judged stands in
`workload/figures.py`.

Errors: with s the spread of a figure between BATCHES batches of whole sessions of the simulation,
and b their mean number of turns, the figure of a single turn has the standard error s * sqrt(b),
which knows that the turns of one session resemble each other; a simulated target has the error
s / sqrt(BATCHES). Base tolerance: BASE_TOLERANCE (published numbers are rounded; for the ideal hit
one point).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

import numpy as np

from workload import figures
from workload.figures import LAW_SHARES, LIMIT, Promise, Row, Sample, Workload
from workload.lengths import Mixture
from workload.profile import Profile
from workload.replay import Replay
from workload.session import FROM_NOTHING, Session, Turn

BASE_TOLERANCE = 0.02  # guess: rounding of published figures to two or three digits
HIT_TOLERANCE = 0.01  # one point
REFERENCE_TURNS = 200_000
REFERENCE_SEED = 2_230
BATCHES = 40
SIMULATED = "simulated"  # source of a target
TRACE = "trace"  # source of a target, too: what the trace itself has
LAWS = ("prompt", "output", "new")  # those a report draws

# Quantity, unit, and the figure (mean, pNN, min, max, share) of which numbers of the sample.
QUANTITIES = (
    ("prompt mean", "tokens", "mean", "prompt"),
    ("prompt p10", "tokens", "p10", "prompt"),
    ("prompt p50", "tokens", "p50", "prompt"),
    ("prompt p90", "tokens", "p90", "prompt"),
    ("prompt p99", "tokens", "p99", "prompt"),
    ("prompt min", "tokens", "min", "prompt"),
    ("prompt max", "tokens", "max", "prompt"),
    ("output mean", "tokens", "mean", "output"),
    ("output p50", "tokens", "p50", "output"),
    ("output p99", "tokens", "p99", "output"),
    ("new tokens mean", "tokens", "mean", "new"),
    ("new tokens p50", "tokens", "p50", "new"),
    ("new tokens p90", "tokens", "p90", "new"),
    ("tool gap p50", "s", "p50", "tool gap"),
    ("human gap p50", "s", "p50", "human gap"),
    ("gap mean", "s", "mean", "gap"),
    ("turns per session", "turns", "mean", "session turns"),
    ("compactions per session", "", "mean", "session compactions"),
    ("ideal hit", "share", "share", "cached"),
)


def of_sample(profile: Profile, sample: Sample) -> list[Row]:
    """The table for a sample of `simulate`."""
    return figures.rows(workload(profile, scripted=False).promises, sample)


@lru_cache(maxsize=16)
def workload(profile: Profile, *, scripted: bool = True) -> Workload:
    """Everything the profile promises; about two seconds of simulation, once for each profile.

    scripted: of traffic whose histories carry scripted replies, as over HTTP. No cache holds those,
    so they count as new; else a turn's new tokens are what the session grew by.
    """
    reference = _reference(profile, scripted)
    if scripted:  # a stated hit is that of a cache which holds replies too
        stated = tuple(target for target in profile.targets if target.quantity != "ideal hit")
        profile = replace(profile, targets=stated)
    return _workload(profile, reference)


def replayed(replay: Replay) -> Workload:
    """Everything that a trace says of its sessions; its sub-agents are left out, as in a run."""
    sample = _sample_of_trace(replay)
    return _workload(replay, _Reference(sample, _batches(sample)))


def sample_of_fresh(sessions: Iterable[AnySession], turns: int) -> Sample:
    """At least so many turns of whole sessions, in the order in which they come."""
    return _sample_of(sessions, turns)


def workload_of_sample(sample: Sample) -> Workload:
    """Everything that a simulation of these sessions says."""
    return _workload(None, _Reference(sample, _batches(sample)))


def _workload(source: Profile | Replay | None, reference: _Reference) -> Workload:
    promises = (_promise(source, reference, *quantity) for quantity in QUANTITIES)
    laws = {}
    for of in LAWS:
        numbers = reference.sample.numbers(of)
        if numbers is not None and len(numbers):
            laws[of] = tuple(float(x) for x in np.quantile(numbers, LAW_SHARES))
    return Workload(promises=tuple(p for p in promises if p is not None), laws=laws)


def simulate(profile: Profile, sessions: int, seed: int, *, scripted: bool = False) -> Sample:
    """The turns of this many fresh sessions. scripted: see `workload`."""
    lives = np.random.SeedSequence(seed).spawn(sessions)
    fresh = (Session(profile, np.random.default_rng(life), "") for life in lives)
    return _sample_of(fresh, scripted=scripted)


def _sample_of(
    sessions: Iterable[AnySession], at_least_turns: float = math.inf, *, scripted: bool = False
) -> Sample:
    """Every turn of these sessions; stops after the session with which it has enough turns."""
    turns: list[Turn] = []
    session_turns, session_compactions = [], []
    for session in sessions:
        before = len(turns)
        turns.extend(iter(session.next_turn, None))
        session_turns.append(len(turns) - before)
        session_compactions.append(sum(turn.kind == "compaction" for turn in turns[before:]))
        if len(turns) >= at_least_turns:
            break
    return Sample(
        np.array([turn.prompt_tokens for turn in turns]),
        np.array([turn.output_tokens for turn in turns]),
        np.array(_cached_without_replies(turns))
        if scripted
        else np.array([turn.ideal_cached_tokens for turn in turns]),
        np.array([turn.kind for turn in turns]),
        np.array([turn.gap_s for turn in turns]),
        np.array(session_turns),
        np.array(session_compactions),
    )


def _sample_of_trace(replay: Replay) -> Sample:
    """Every turn of every developer's session, as it is replayed."""
    trace = replay.trace
    sessions = [trace.sessions[root].turns for root in trace.roots]
    turns = [turn for session in sessions for turn in session]
    return Sample(
        np.array([turn.prompt_tokens for turn in turns]),
        np.array([max(1, turn.output_tokens) for turn in turns]),
        np.array([max(turn.kept_tokens, turn.common_tokens) for turn in turns]),
        np.array([turn.kind for turn in turns]),
        np.array([replay.timing.pause_s(turn.gap_s) for turn in turns]),
        np.array([len(session) for session in sessions]),
        np.array([sum(turn.kind == "compaction" for turn in session) for session in sessions]),
    )


def _cached_without_replies(turns: list[Turn]) -> list[int]:
    """Ideal cached tokens where the last reply in the history is not the one that was given."""
    replies = [0, *(turn.reply_tokens for turn in turns)]
    return [
        turn.ideal_cached_tokens - (0 if turn.kind in FROM_NOTHING else reply_tokens)
        for turn, reply_tokens in zip(turns, replies, strict=False)
    ]


def _batches(sample: Sample) -> list[Sample]:
    """A simulated sample cut into at most BATCHES parts of whole sessions."""
    assert sample.kinds is not None and sample.gaps_s is not None
    assert sample.session_turns is not None and sample.session_compactions is not None
    ends = np.cumsum(sample.session_turns)
    cuts = [round(len(ends) * k / BATCHES) for k in range(BATCHES + 1)]
    parts = []
    for first, last in pairwise(cuts):
        if first == last:  # fewer sessions than batches
            continue
        turns = slice(ends[first - 1] if first else 0, ends[last - 1])
        parts.append(
            Sample(
                sample.prompt_tokens[turns],
                sample.output_tokens[turns],
                sample.ideal_cached_tokens[turns],
                sample.kinds[turns],
                sample.gaps_s[turns],
                sample.session_turns[first:last],
                sample.session_compactions[first:last],
            )
        )
    return parts


class AnySession(Protocol):
    """Whatever has turns: of a profile, of a trace, with habits."""

    def next_turn(self) -> Turn | None:
        """None: it is over."""


@dataclass(frozen=True, slots=True)
class _Reference:
    """The large simulation, whole and in batches of whole sessions."""

    sample: Sample
    batches: list[Sample]

    def figure(self, figure: str, of: str) -> _Figure | None:
        """None where the simulation has nothing of the kind."""
        known = [found for part in self.batches if (found := _figure(part, figure, of))]
        whole = _figure(self.sample, figure, of)
        if whole is None or len(known) < 2:
            return None
        spread = float(np.std([value for value, _count in known], ddof=1))
        size = float(np.mean([count for _value, count in known]))
        return _Figure(whole[0], spread, size)


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure of the simulation: `spread` between batches of `batch_size` numbers each."""

    value: float
    spread: float
    batch_size: float


def _figure(sample: Sample, figure: str, of: str) -> tuple[float, int] | None:
    """(value, how many numbers it is of)."""
    numbers = sample.numbers(of)
    value = None if numbers is None else sample.figure(figure, numbers)
    return None if value is None or numbers is None else (value, len(numbers))


def _reference(profile: Profile, scripted: bool) -> _Reference:
    sample = _sample_of(fresh_sessions(profile), REFERENCE_TURNS, scripted=scripted)
    return _Reference(sample, _batches(sample))


def fresh_sessions(profile: Profile) -> Iterator[Session]:
    """Endless ones, the same whenever they are asked for."""
    for n, seeds in enumerate(_seeds(REFERENCE_SEED)):
        yield Session(profile, np.random.default_rng(seeds), f"s{n}")


def _seeds(seed: int) -> Iterator[np.random.SeedSequence]:
    root = np.random.SeedSequence(seed)
    while True:
        yield from root.spawn(100)


def _closed_form(profile: Profile, quantity: str) -> float | None:
    """The figure by the profile's laws alone, where it does not depend on how sessions grow."""
    longest = profile.max_output_tokens
    tool, human, share = profile.tool_gap_s, profile.human_gap_s, profile.tool_share
    match quantity:
        case "output mean":
            return _cut(profile.output_tokens, longest).mean
        case "output p50":
            return min(profile.output_tokens.quantile(0.5), longest)
        case "output p99":
            return min(profile.output_tokens.quantile(0.99), longest)
        case "tool gap p50":
            return tool.quantile(0.5)
        case "human gap p50":
            return human.quantile(0.5)
        case "gap mean":
            return share * tool.mean + (1 - share) * human.mean
        case _:
            return None


def _cut(mixture: Mixture, longest: int) -> Mixture:
    """The mixture with every draw above `longest` cut to it, as max_tokens does.

    Exact where the parts have no upper bound of their own.
    """
    parts = (replace(part, at_most=longest, beyond="clip") for part in mixture.parts)
    return Mixture(mixture.weights, tuple(parts))


def _promise(
    source: Profile | Replay | None,
    reference: _Reference,
    quantity: str,
    unit: str,
    figure: str,
    of: str,
) -> Promise | None:
    """None where the source has nothing of the kind."""
    if figure in ("min", "max"):
        if source is None:
            return None
        limit = source.min_prompt_tokens if figure == "min" else source.max_prompt_tokens
        return Promise(
            quantity=quantity,
            unit=unit,
            figure=figure,
            of=of,
            target=limit,
            source=LIMIT,
            base_tolerance=0.0,
            turn_error=0.0,
            target_error=0.0,
        )
    simulated = reference.figure(figure, of)
    if simulated is None:
        return None
    target, said_by = _target(source, quantity, simulated)
    if not target:  # compactions or pauses that there are none of
        return None
    return Promise(
        quantity=quantity,
        unit=unit,
        figure=figure,
        of=of,
        target=target,
        source=said_by,
        base_tolerance=HIT_TOLERANCE / target if quantity == "ideal hit" else BASE_TOLERANCE,
        turn_error=simulated.spread * math.sqrt(simulated.batch_size),
        target_error=simulated.spread / math.sqrt(BATCHES) if said_by == SIMULATED else 0.0,
    )


def _target(
    source: Profile | Replay | None, quantity: str, simulated: _Figure
) -> tuple[float, str]:
    """(target, its source): the trace's own; or stated with the profile, else closed form, else
    simulated."""
    if source is None:
        return simulated.value, SIMULATED
    if isinstance(source, Replay):
        return simulated.value, TRACE
    stated = source.target(quantity)
    if stated is not None:
        return stated.value, stated.source
    value = _closed_form(source, quantity)
    if value is not None:
        return value, "closed form"
    return simulated.value, SIMULATED
