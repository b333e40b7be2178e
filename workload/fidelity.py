"""Fidelity: is the traffic the one the profile promises? Realised figures beside their targets.

A target is the number stated with the profile where there is one (published by the study, or
computed where the profile was designed), else the closed form of the profile's law, else the figure
of a large seeded simulation; each row says which. It works on plain arrays, so a
run's records are checked with it as well as a simulation.

Tolerance, relative to the target: BASE_TOLERANCE (published numbers are rounded; for the ideal
hit one point) plus 3 standard errors. The standard error of a figure from n turns is

    s * sqrt(b / n)        + in quadrature s / sqrt(BATCHES) where the target is simulated

with s the spread of that figure between BATCHES batches of whole sessions of the simulation, and
b their mean number of turns: so it knows that the turns of one session resemble each other.
Verdict: "ok", "off", or "too few" where the tolerance passes MAX_TOLERANCE or a percentile has
fewer than MIN_TAIL_TURNS turns beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workload.lengths import Floats, Mixture, Tokens
from workload.profile import Profile
from workload.session import Session, Turn

BASE_TOLERANCE = 0.02  # guess: rounding of published figures to two or three digits
HIT_TOLERANCE = 0.01  # one point
STANDARD_ERRORS = 3.0
MAX_TOLERANCE = 0.25  # guess: a wider band would pass anything
MIN_TAIL_TURNS = 6.6  # 660 turns for a p99 (DESIGN.md section 2)
REFERENCE_TURNS = 200_000
REFERENCE_SEED = 2_230
BATCHES = 40


@dataclass(frozen=True, slots=True)
class Sample:
    """Turns to be checked, shape (n_turns,), whole sessions one after the other where known."""

    prompt_tokens: Tokens
    output_tokens: Tokens
    ideal_cached_tokens: Tokens
    kinds: NDArray[np.str_] | None = None
    gaps_s: Floats | None = None
    session_turns: Tokens | None = None  # of each session that ended, shape (n_sessions,)
    session_compactions: Tokens | None = None  # the same

    @property
    def new_tokens(self) -> Tokens | None:
        """What grew: prompt less ideal_cached of the turns that go on from a previous one."""
        grown = self._of_kinds("tool", "user")
        new = self.prompt_tokens - self.ideal_cached_tokens
        return None if grown is None else new[grown]

    def gaps_before(self, *kinds: str) -> Floats | None:
        """The pauses before turns of these kinds."""
        chosen = self._of_kinds(*kinds)
        return None if chosen is None or self.gaps_s is None else self.gaps_s[chosen]

    def _of_kinds(self, *kinds: str) -> NDArray[np.bool_] | None:
        return None if self.kinds is None else np.isin(self.kinds, kinds)


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity: deviation and tolerance are relative to the target; None where unknown."""

    quantity: str
    unit: str
    target: float
    source: str  # where the target comes from
    realised: float | None
    deviation: float | None
    tolerance: float | None
    verdict: str  # "ok", "off", "too few"


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


def of_turns(
    profile: Profile,
    prompt_tokens: ArrayLike,
    output_tokens: ArrayLike,
    ideal_cached_tokens: ArrayLike,
    *,
    kinds: Sequence[str] | NDArray[np.str_] | None = None,
    gaps_s: ArrayLike | None = None,
    session_turns: ArrayLike | None = None,
) -> list[Row]:
    """The table for these turns: arrays of shape (n_turns,), one element a turn.

    Rows that need `kinds`, `gaps_s` or `session_turns` (turns of the sessions that ended) are left
    out where they are not given. Output tokens of interrupted turns should be what was asked for.
    """
    sample = Sample(
        np.asarray(prompt_tokens, dtype=np.int64),
        np.asarray(output_tokens, dtype=np.int64),
        np.asarray(ideal_cached_tokens, dtype=np.int64),
        None if kinds is None else np.asarray(kinds, dtype=np.str_),
        None if gaps_s is None else np.asarray(gaps_s, dtype=np.float64),
        None if session_turns is None else np.asarray(session_turns, dtype=np.int64),
    )
    if len({len(a) for a in (sample.prompt_tokens, sample.ideal_cached_tokens)}) > 1:
        raise ValueError("prompt_tokens and ideal_cached_tokens must have one element a turn each")
    return of_sample(profile, sample)


def of_sample(profile: Profile, sample: Sample) -> list[Row]:
    """The table for a sample."""
    rows = (_row(profile, sample, *quantity) for quantity in QUANTITIES)
    return [row for row in rows if row is not None]


def simulate(profile: Profile, sessions: int, seed: int) -> Sample:
    """The turns of this many fresh sessions."""
    lives = np.random.SeedSequence(seed).spawn(sessions)
    return _sample_of(Session(profile, np.random.default_rng(life), "") for life in lives)


def _sample_of(sessions: Iterable[Session], at_least_turns: float = math.inf) -> Sample:
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
        np.array([turn.ideal_cached_tokens for turn in turns]),
        np.array([turn.kind for turn in turns]),
        np.array([turn.gap_s for turn in turns]),
        np.array(session_turns),
        np.array(session_compactions),
    )


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


def _numbers(sample: Sample, of: str) -> Tokens | Floats | None:
    """The numbers a figure is taken of; None where the sample does not have them."""
    match of:
        case "prompt" | "cached":
            return sample.prompt_tokens
        case "output":
            return sample.output_tokens
        case "new":
            return sample.new_tokens
        case "tool gap":
            return sample.gaps_before("tool")
        case "human gap":
            return sample.gaps_before("user")
        case "gap":
            return sample.gaps_before("tool", "user")
        case "session turns":
            return sample.session_turns
        case _:
            return sample.session_compactions


def _figure(sample: Sample, figure: str, numbers: Tokens | Floats) -> float | None:
    """One figure of these numbers of the sample; None if there are none."""
    if not len(numbers):
        return None
    match figure:
        case "mean":
            return float(numbers.mean())
        case "min":
            return float(numbers.min())
        case "max":
            return float(numbers.max())
        case "share":
            return float(sample.ideal_cached_tokens.sum() / sample.prompt_tokens.sum())
        case _:
            return float(np.percentile(numbers, int(figure[1:])))


@dataclass(frozen=True, slots=True)
class _Reference:
    """A figure of the large simulation: `spread` between batches of `batch_size` numbers each."""

    value: float
    spread: float
    batch_size: float


@lru_cache(maxsize=16)
def _references(profile: Profile) -> dict[str, _Reference]:
    """The figures of about REFERENCE_TURNS turns, by quantity."""
    streams = map(np.random.default_rng, _seeds(REFERENCE_SEED))
    sample = _sample_of((Session(profile, rng, "") for rng in streams), REFERENCE_TURNS)
    batches = _batches(sample)
    references = {}
    for quantity, _unit, figure, of in QUANTITIES:
        numbers = _numbers(sample, of)
        value = None if numbers is None else _figure(sample, figure, numbers)
        parts = [(part, _numbers(part, of)) for part in batches]
        values = [_figure(part, figure, some) for part, some in parts if some is not None]
        known = [v for v in values if v is not None]
        if value is None or len(known) < 2:
            continue
        size = float(np.mean([len(some) for _part, some in parts if some is not None]))
        references[quantity] = _Reference(value, float(np.std(known, ddof=1)), size)
    return references


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


def _target(profile: Profile, quantity: str, reference: _Reference) -> tuple[float, str]:
    """(target, its source): stated with the profile, else closed form, else simulated."""
    stated = profile.target(quantity)
    if stated is not None:
        return stated.value, stated.source
    value = _closed_form(profile, quantity)
    if value is not None:
        return value, "closed form"
    return reference.value, "simulated"


def _row(
    profile: Profile, sample: Sample, quantity: str, unit: str, figure: str, of: str
) -> Row | None:
    """The row of one quantity; None if the sample or the profile has nothing of the kind."""
    numbers = _numbers(sample, of)
    if numbers is None or (of == "session compactions" and profile.compaction is None):
        return None
    realised = _figure(sample, figure, numbers)
    if figure in ("min", "max"):
        return _limit_row(profile, quantity, unit, figure, realised)
    reference = _references(profile).get(quantity)
    if reference is None:
        return None
    target, source = _target(profile, quantity, reference)
    if realised is None:
        return Row(quantity, unit, target, source, None, None, None, "too few")
    tolerance = _tolerance(quantity, target, source, reference, len(numbers))
    deviation = realised / target - 1
    enough = tolerance <= MAX_TOLERANCE and _has_tail(figure, len(numbers))
    verdict = "too few" if not enough else "ok" if abs(deviation) <= tolerance else "off"
    return Row(quantity, unit, target, source, realised, deviation, tolerance, verdict)


def _tolerance(
    quantity: str, target: float, source: str, reference: _Reference, count: int
) -> float:
    base = HIT_TOLERANCE / target if quantity == "ideal hit" else BASE_TOLERANCE
    variance = reference.spread**2 * reference.batch_size / count
    if source == "simulated":
        variance += reference.spread**2 / BATCHES
    return base + STANDARD_ERRORS * math.sqrt(variance) / target


def _has_tail(figure: str, count: int) -> bool:
    """Whether a percentile has enough turns beyond it to be claimed."""
    if not figure.startswith("p"):
        return True
    share = int(figure[1:]) / 100
    return count * min(share, 1 - share) >= MIN_TAIL_TURNS - 1e-9


def _limit_row(
    profile: Profile, quantity: str, unit: str, figure: str, realised: float | None
) -> Row:
    """Shortest and longest prompt: both must lie inside the profile's limits."""
    low, high = profile.min_prompt_tokens, profile.max_prompt_tokens
    limit = low if figure == "min" else high
    if realised is None:
        return Row(quantity, unit, limit, "limit", None, None, None, "too few")
    verdict = "ok" if low <= realised <= high else "off"
    return Row(quantity, unit, limit, "limit", realised, realised / limit - 1, None, verdict)
