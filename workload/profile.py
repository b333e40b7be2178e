"""Profile: how long the prompts, answers and pauses of a developer's sessions are, checked.

The built-in ones are in workload.profiles, what they drive is workload.session.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from workload.lengths import Lognormal, Mixture, ShiftedGamma

MAX_THRESHOLD_Z = 3.0  # guess: farther swings of the compaction threshold are cut
MIN_HAZARD_WITH_COMPACTION = 1e-4  # guess: 10,000 turns a session


class ProfileError(ValueError):
    """A profile that does not exist or cannot be. Names the key, the value, what is accepted."""


@dataclass(frozen=True, slots=True)
class ProfileTarget:
    """A number the traffic must reproduce; `quantity` is a row of workload.fidelity.

    source: "published: …" for the study's own figures, "design: …" for computed ones.
    """

    quantity: str
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Compaction:
    """The agent summarises its history when the next prompt would pass a threshold.

    The threshold is drawn anew after each compaction: at_tokens * (1 + spread * Z), Z standard
    normal kept within -+3. The next prompt then has `to_tokens`; of the old one only the shared
    prefix is kept.
    """

    at_tokens: int = 155_000  # WEKA: p25/50/75 of the level before = 145k/152k/161k
    # docs/workload.md 3.3: "± 6%". Read as a standard deviation it gives the published p99 of
    # 159k for profile wild; read as a uniform range, 155.7k.
    spread: float = 0.06
    to_tokens: Lognormal = Lognormal(35_000, 0.45, at_least=15_000, at_most=100_000)  # WEKA p50


@dataclass(frozen=True, slots=True)
class Subagents:
    """Some sessions send one group of parallel sub-agents, before their first tool turn (guess).

    A sub-agent is a short session of tool turns with its own system prompt. With the defaults
    21.5% of the requests of profile agentic are theirs (AgentX 24.3%).
    """

    session_share: float = 0.29  # AgentX corpus, InferenceX issue 1632: 29% of sessions
    group_weights: tuple[float, ...] = (50, 25, 31, 13, 18)  # same: groups of 1, 2, 3, 4, 5
    start_tokens: Lognormal = Lognormal(10_300, 0.15, at_least=7_000, at_most=20_000)  # WEKA; guess
    shared_prefix_tokens: int = 7_000  # guess, below WEKA's p1 of the tool schemas (7.7k)
    growth_tokens: Lognormal = Lognormal.from_mean(3_100, 1.3, at_most=40_000)  # to mean 45k (WEKA)
    requests: float = 10.7  # mean, WEKA


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A session process. Lengths in tokens, pauses in seconds; docs/workload.md 2.

    A session starts with a prompt of `start_tokens`, of which `shared_prefix_tokens` are the same
    in all sessions. Each next prompt = prompt + reply + `growth_tokens`. After each turn
    the session ends with `hazard(prompt)`, or when the next prompt would pass
    `max_prompt_tokens`. A turn is triggered by a tool result with `tool_share`, else by the user,
    who interrupts the answer to `interrupt_share` of these user turns.
    """

    name: str
    min_prompt_tokens: int
    max_prompt_tokens: int
    shared_prefix_tokens: int
    start_tokens: Lognormal | ShiftedGamma
    growth_tokens: Lognormal
    end_hazard: float
    end_hazard_slope: float
    output_tokens: Mixture
    max_output_tokens: int
    tool_share: float
    tool_gap_s: Lognormal
    human_gap_s: Lognormal
    compaction: Compaction | None = None
    subagents: Subagents | None = None
    interrupt_share: float = 0.0  # of user turns; real: 0.05 (new users) to 0.09 (Anthropic, 2026)
    targets: tuple[ProfileTarget, ...] = field(default=())

    def __post_init__(self) -> None:
        for key, value, accepted, holds in _constraints(self):
            if not holds:
                raise ProfileError(f"{key} = {shown(value)} is not accepted: {accepted}")

    def hazard(self, prompt_tokens: int) -> float:
        """Probability that a session ends after a turn with this prompt c:

        h(c) = end_hazard * [1 + end_hazard_slope * (c - min) / (max - min)]
        """
        span = self.max_prompt_tokens - self.min_prompt_tokens
        return self.end_hazard * (
            1 + self.end_hazard_slope * (prompt_tokens - self.min_prompt_tokens) / span
        )

    def subagent(self) -> Profile:
        """The profile of its sub-agents: tool turns only, none of the options."""
        if self.subagents is None:
            raise ProfileError(f"profile {self.name} has no subagents")
        return _subagent_profile(self, self.subagents)

    def expected_turns(self) -> float:
        """Turns per session, about: survival under the hazard along the mean growth."""
        return _expected_turns(self)

    def target(self, quantity: str) -> ProfileTarget | None:
        """The number stated for this quantity, if there is one."""
        return next((t for t in self.targets if t.quantity == quantity), None)

    def fingerprint(self) -> str:
        """12 hex digits over every value that shapes the traffic: all but name and targets."""
        values = {k: v for k, v in asdict(self).items() if k not in ("name", "targets")}
        canonical = json.dumps(_as_floats(values), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _constraints(p: Profile) -> list[tuple[str, Any, str, bool]]:
    """(key, value, what is accepted, whether it holds) for every rule between fields."""
    low, high, shared = p.min_prompt_tokens, p.max_prompt_tokens, p.shared_prefix_tokens
    start = p.start_tokens
    rules: list[tuple[str, Any, str, bool]] = [
        ("name", p.name, "a name that is not empty", bool(p.name.strip())),
        ("min_prompt_tokens", low, "1 or more", low >= 1),
        ("max_prompt_tokens", high, f"more than min_prompt_tokens ({low})", high > low),
        ("shared_prefix_tokens", shared, "0 or more", shared >= 0),
        (
            "start_tokens.at_most",
            start.at_most,
            f"max_prompt_tokens ({high}) at most",
            start.at_most <= high,
        ),
        (
            f"start_tokens.{'shift' if isinstance(start, ShiftedGamma) else 'at_least'}",
            start.at_least,
            f"min_prompt_tokens ({low}) and shared_prefix_tokens ({shared}) at least",
            start.at_least >= max(low, shared),
        ),
        ("end_hazard", p.end_hazard, "from 0 to 1", 0 <= p.end_hazard <= 1),
        (
            "end_hazard_slope",
            p.end_hazard_slope,
            "a finite number of 0 or more",
            0 <= p.end_hazard_slope < math.inf,
        ),
        ("max_output_tokens", p.max_output_tokens, "1 or more", p.max_output_tokens >= 1),
        ("tool_share", p.tool_share, "from 0 to 1", 0 <= p.tool_share <= 1),
        ("interrupt_share", p.interrupt_share, "from 0 to 1", 0 <= p.interrupt_share <= 1),
        *_gap_constraints("tool_gap_s", p.tool_gap_s),
        *_gap_constraints("human_gap_s", p.human_gap_s),
    ]
    if p.compaction is not None:
        rules += _compaction_constraints(p, p.compaction)
    if p.subagents is not None:
        rules += _subagent_constraints(p, p.subagents)
    return rules


def _gap_constraints(key: str, gap: Lognormal) -> list[tuple[str, Any, str, bool]]:
    return [(f"{key}.beyond", gap.beyond, '"redraw" for pauses', gap.beyond == "redraw")]


def _compaction_constraints(p: Profile, c: Compaction) -> list[tuple[str, Any, str, bool]]:
    floor = max(p.min_prompt_tokens, p.shared_prefix_tokens)
    swing = c.spread * MAX_THRESHOLD_Z
    lowest, highest = c.at_tokens * (1 - swing), c.at_tokens * (1 + swing)
    to = c.to_tokens
    return [
        ("compaction.spread", c.spread, "from 0 to below 1/3", 0 <= swing < 1),
        (
            "compaction.at_tokens",
            c.at_tokens,
            f"with 3 spreads added max_prompt_tokens ({p.max_prompt_tokens}) at most",
            0 < highest <= p.max_prompt_tokens,
        ),
        (
            "compaction.to_tokens.at_most",
            to.at_most,
            f"below compaction.at_tokens less 3 spreads ({lowest:g})",
            to.at_most < lowest,
        ),
        (
            "compaction.to_tokens.at_least",
            to.at_least,
            f"min_prompt_tokens and shared_prefix_tokens at least ({floor})",
            to.at_least >= floor,
        ),
        (
            "end_hazard",
            p.end_hazard,
            f"{MIN_HAZARD_WITH_COMPACTION} at least: compaction lets a session go on for ever",
            p.end_hazard >= MIN_HAZARD_WITH_COMPACTION,
        ),
    ]


def _subagent_constraints(p: Profile, s: Subagents) -> list[tuple[str, Any, str, bool]]:
    start = s.start_tokens
    return [
        ("subagents.session_share", s.session_share, "from 0 to 1", 0 <= s.session_share <= 1),
        (
            "subagents.group_weights",
            s.group_weights,
            "finite numbers of 0 or more, one of them above 0",
            all(math.isfinite(w) and w >= 0 for w in s.group_weights) and sum(s.group_weights) > 0,
        ),
        ("subagents.requests", s.requests, "1 or more", 1 <= s.requests < math.inf),
        (
            "subagents.start_tokens.at_most",
            start.at_most,
            f"max_prompt_tokens ({p.max_prompt_tokens}) at most",
            start.at_most < p.max_prompt_tokens,
        ),
        (
            "subagents.start_tokens.at_least",
            start.at_least,
            f"1 and subagents.shared_prefix_tokens ({s.shared_prefix_tokens}) at least",
            start.at_least >= max(1, s.shared_prefix_tokens),
        ),
        (
            "subagents.shared_prefix_tokens",
            s.shared_prefix_tokens,
            "0 or more",
            s.shared_prefix_tokens >= 0,
        ),
    ]


@lru_cache(maxsize=64)
def _subagent_profile(p: Profile, s: Subagents) -> Profile:
    return replace(
        p,
        name=f"{p.name}-subagent",
        min_prompt_tokens=max(1, round(s.start_tokens.at_least)),
        shared_prefix_tokens=s.shared_prefix_tokens,
        start_tokens=s.start_tokens,
        growth_tokens=s.growth_tokens,
        end_hazard=1 / s.requests,
        end_hazard_slope=0.0,
        tool_share=1.0,
        compaction=None,
        subagents=None,
        interrupt_share=0.0,
        targets=(),
    )


@lru_cache(maxsize=64)
def _expected_turns(p: Profile) -> float:
    growth = p.growth_tokens.mean + min(p.output_tokens.mean, p.max_output_tokens)
    prompt, turns, survival = p.start_tokens.mean, 0.0, 1.0
    while survival > 1e-6 and prompt <= p.max_prompt_tokens:
        turns += survival
        survival *= max(0.0, 1 - p.hazard(round(prompt)))
        prompt += growth
        if p.compaction is not None and prompt > p.compaction.at_tokens:
            prompt = p.compaction.to_tokens.mean
    return turns


def _as_floats(values: Any) -> Any:
    """Every number a float, so that 45000 and 45000.0 share a fingerprint."""
    if isinstance(values, dict):
        return {key: _as_floats(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_as_floats(value) for value in values]
    return float(values) if isinstance(values, int) else values


def shown(value: Any) -> str:
    """A value as an error message shows it."""
    return "missing" if value is None else repr(value)
