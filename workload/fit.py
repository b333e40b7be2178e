"""Fit: the laws of a profile from a trace. Numbers go in and numbers come out.

Median and spread of the logarithms for starts, median and mean for growth and pauses, two
lognormals by expectation maximisation for outputs, one over the mean number of turns for the end.
What the laws cannot say is named (`left_out`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from workload.lengths import Lognormal
from workload.overrides import derived
from workload.profile import Profile
from workload.profiles import PROFILES
from workload.traces.turns import Trace, TracedTurn

_BASE = "agentic"
_MIN_SIGMA = 0.05  # guess: a law narrower than that is a constant
_MAX_SIGMA = 4.0  # guess: beyond it a median says nothing
_MIN_PAUSE_S = 0.05  # a trace's clock is often of whole seconds
_MARGIN = 1.1  # guess: how far beyond what was seen a law may go
_EM_ROUNDS = 200
_MIN_COMPACTIONS = 5  # guess: fewer say nothing of their law


class FitError(ValueError):
    """A trace that a profile cannot be fitted to."""


@dataclass(frozen=True, slots=True)
class Fit:
    """table: of overrides, as a TOML file holds it; left_out: in words, what the laws cannot say of
    this trace."""

    profile: Profile
    table: dict[str, Any]
    left_out: tuple[str, ...]

    def toml(self) -> str:
        """The profile's file."""
        lines = []
        for key, value in self.table.items():
            if isinstance(value, list):
                lines += [f"[[{key}]]\n" + _entries(part) for part in value]
            else:
                lines.append(f"{key} = {_shown(value)}")
        return "\n".join(lines) + "\n"


def fit(trace: Trace, name: str) -> Fit:
    """The profile of a trace's sessions, sub-agents left out. Raises FitError."""
    sessions = [trace.sessions[root].turns for root in trace.roots]
    later = [turn for session in sessions for turn in session[1:]]
    if len(later) < 2:
        raise FitError(f"{trace.name}: {len(later)} turns after a first; accepted: 2 or more")
    growth = [tokens for session in sessions for tokens in _growth(session)]
    starts = [session[0].prompt_tokens for session in sessions]
    least = max(1, int(min(starts) / _MARGIN))
    prompts = [turn.prompt_tokens for session in sessions for turn in session]
    outputs = [max(1, turn.output_tokens) for session in sessions for turn in session]
    tool = [turn for turn in later if turn.kind == "tool"]
    user = [turn for turn in later if turn.kind == "user"]
    table: dict[str, Any] = {
        "base": _BASE,
        "name": name,
        "min_prompt_tokens": least,
        "max_prompt_tokens": max(*prompts, math.ceil(_MARGIN * max(starts)) + 1),
        "max_output_tokens": max(outputs),
        "shared_prefix_tokens": _shared_tokens(trace, least),
        "end_hazard": round(len(sessions) / sum(map(len, sessions)), 5),
        "end_hazard_slope": 0.0,
        "tool_share": round(len(tool) / max(1, len(tool) + len(user)), 4),
        "start_tokens": _lognormal(starts, at_least=least),
        "growth_tokens": _with_mean(
            _lognormal([max(1, tokens) for tokens in growth] or [1]), float(np.mean(growth or [1]))
        ),
    }
    for key, turns in (("tool_gap_s", tool), ("human_gap_s", user)):
        if turns:
            pauses_s = [max(_MIN_PAUSE_S, turn.gap_s) for turn in turns]
            table[key] = _with_mean(_lognormal(pauses_s), float(np.mean(pauses_s)))
    compacted = _compaction(sessions, table)
    if compacted:
        table["compaction"] = compacted
    table["output_tokens"] = _mixture(outputs)
    profile = derived(table, PROFILES, name=name)
    return Fit(profile, table, _left_out(trace, sessions, growth, compacted is not None))


def _growth(session: Sequence[TracedTurn]) -> list[int]:
    """Of each turn that goes on, what it brought beside the reply before it."""
    return [
        turn.prompt_tokens - before.prompt_tokens - before.output_tokens
        for before, turn in zip(session, session[1:], strict=False)
        if turn.kind != "compaction"
    ]


def _shared_tokens(trace: Trace, least: int) -> int:
    """What sessions have in common, or are said to begin with."""
    roots = [trace.sessions[root] for root in trace.roots]
    common = [session.turns[0].common_tokens for session in roots if session.turns[0].common_tokens]
    said = [session.opening_tokens for session in roots if session.opening_tokens]
    known = common or said
    return min(least, round(float(np.median(known)))) if known else 0


def _lognormal(numbers: Sequence[float], *, at_least: float = 0.0) -> dict[str, float]:
    logs = np.log(np.asarray(numbers, dtype=float))
    law = {
        "median": float(f"{math.exp(float(np.median(logs))):.6g}"),
        "sigma": round(max(_MIN_SIGMA, float(logs.std())), 4),
        "at_most": float(math.ceil(_MARGIN * max(numbers))),
    }
    return {**law, "at_least": float(at_least)} if at_least else law


def _with_mean(law: dict[str, float], mean: float) -> dict[str, float]:
    """The same median, with the spread that gives this mean, as near as the law can come to it. Of
    many small numbers the logarithms spread wider than the few large ones bear out."""
    low, high = _MIN_SIGMA, _MAX_SIGMA
    for _ in range(40):
        sigma = (low + high) / 2
        if Lognormal(law["median"], sigma, at_most=law["at_most"]).mean < mean:
            low = sigma
        else:
            high = sigma
    return {**law, "sigma": round(low, 4)}


def _mixture(outputs: Sequence[int]) -> list[dict[str, float]]:
    """Two lognormals, by expectation maximisation from the lower and the upper half."""
    logs = np.log(np.asarray(outputs, dtype=float))
    middle = float(np.median(logs))
    weights = np.array([0.5, 0.5])
    means = np.array([logs[logs <= middle].mean(), logs[logs >= middle].mean()])
    sigmas = np.full(2, max(_MIN_SIGMA, float(logs.std())))
    for _ in range(_EM_ROUNDS):
        z = (logs[:, None] - means) / sigmas
        shares = weights / sigmas * np.exp(-(z**2) / 2)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
        totals = np.maximum(shares.sum(axis=0), 1e-9)
        weights, means = totals / len(logs), (shares * logs[:, None]).sum(axis=0) / totals
        spread = np.sqrt((shares * (logs[:, None] - means) ** 2).sum(axis=0) / totals)
        sigmas = np.maximum(spread, _MIN_SIGMA)
    first = round(float(weights[0]), 4)
    return [
        {
            "weight": weight,
            "median": float(f"{math.exp(mean):.6g}"),
            "sigma": round(float(sigma), 4),
        }
        for weight, mean, sigma in zip((first, round(1 - first, 4)), means, sigmas, strict=True)
        if weight > 0
    ]


def _compaction(
    sessions: Sequence[Sequence[TracedTurn]], table: dict[str, Any]
) -> dict[str, Any] | None:
    """None where there are few of them, or their levels overlap with what they leave."""
    pairs = [
        (before.prompt_tokens, turn.prompt_tokens)
        for session in sessions
        for before, turn in zip(session, session[1:], strict=False)
        if turn.kind == "compaction"
    ]
    if len(pairs) < _MIN_COMPACTIONS:
        return None
    at, to = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    level = round(float(np.median(at)))
    spread = round(float(min(0.2, at.std() / at.mean())), 4)
    lowest = level * (1 - 3 * spread)
    floor = max(table["min_prompt_tokens"], table["shared_prefix_tokens"])
    law = {**_lognormal(to.tolist()), "at_least": float(floor), "at_most": lowest - 1}
    fits = floor < law["median"] < law["at_most"] and level < table["max_prompt_tokens"]
    return {"at_tokens": level, "spread": spread, "to_tokens": law} if fits else None


def _left_out(
    trace: Trace,
    sessions: Sequence[Sequence[TracedTurn]],
    growth: Sequence[int],
    has_compaction: bool,
) -> tuple[str, ...]:
    pairs = [(b, t) for session in sessions for b, t in zip(session, session[1:], strict=False)]
    broken = sum(t.kind != "compaction" and t.kept_tokens < b.prompt_tokens for b, t in pairs)
    shorter = sum(tokens < 0 for tokens in growth)
    lost = 0 if has_compaction else sum(t.kind == "compaction" for _, t in pairs)
    agents = len(trace.sessions) - len(trace.roots)
    said = [
        (broken, f"{broken} turns that grew but kept less than the prompt before them"),
        (shorter, f"{shorter} turns that kept less of the last reply than it was long"),
        (lost, f"{lost} compactions, too few or too wide for a law"),
        (agents, f"{agents} sub-agents"),
    ]
    return tuple(words for number, words in said if number)


def _entries(part: dict[str, Any]) -> str:
    return "\n".join(f"{key} = {_shown(value)}" for key, value in part.items())


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_shown(each)}" for key, each in value.items()) + "}"
    return orjson.dumps(value).decode() if isinstance(value, str) else repr(value)
