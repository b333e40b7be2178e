"""Policy: by which of five rules a router chose, from what a client sees alone.

Each rule says before every turn which replicas it might choose, given what the client knows: what
was sent where so far, and what is under way. The rule under which the choices seen were most
likely is the guess; how far it is ahead of the next is said in bits.

    round-robin     the replica whose last turn is longest ago
    random          all alike
    least-loaded    those with the fewest turns under way
    sticky          that of the session's turn before; all alike for a new session
    prefix-aware    that of the session's turn before; the least loaded for a prompt from nothing
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

# Share of choices that a rule does not explain: other clients, retries, neighbours that overtake
# each other on the way (guess).
STRAY_SHARE = 0.05
# Ahead by less than 20 to 1, nothing is claimed.
LEAST_BITS = math.log2(20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One turn. from_nothing: its prompt continues none that its session sent before; ended_at_s:
    None for one that is still under way."""

    session: str
    from_nothing: bool
    sent_at_s: float
    ended_at_s: float | None
    replica: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """policy: None where the two most likely are too close; likeliest: all, the most likely first;
    bits_ahead: log2 of how much likelier the first makes the choices seen than the second."""

    policy: str | None
    likeliest: tuple[str, ...]
    bits_ahead: float
    turns: int


class _Seen:
    """What a client knows before a turn."""

    def __init__(self, names: Iterable[str]) -> None:
        self.last_turn = {name: 0 for name in sorted(names)}
        self.under_way = dict.fromkeys(self.last_turn, 0)
        self.of_session: dict[str, str] = {}
        self._turns = 0
        self._ends: list[tuple[float, str]] = []

    def now(self, at_s: float) -> None:
        while self._ends and self._ends[0][0] <= at_s:
            self.under_way[heappop(self._ends)[1]] -= 1

    def add(self, turn: Served) -> None:
        self._turns += 1
        self.last_turn[turn.replica] = self._turns
        self.under_way[turn.replica] += 1
        self.of_session[turn.session] = turn.replica
        heappush(
            self._ends, (turn.ended_at_s if turn.ended_at_s is not None else math.inf, turn.replica)
        )

    def least(self) -> list[str]:
        """Those with the fewest turns under way."""
        fewest = min(self.under_way.values())
        return [name for name, turns in self.under_way.items() if turns == fewest]

    def oldest(self, among: Iterable[str]) -> str:
        return min(among, key=self.last_turn.__getitem__)


# What a rule expects: chances by replica, of those that it might choose.
Expected = Mapping[str, float]
Rule = Callable[[_Seen, Served], Expected]


def _round_robin(seen: _Seen, turn: Served) -> Expected:
    return {seen.oldest(seen.last_turn): 1.0}


def _random(seen: _Seen, turn: Served) -> Expected:
    return {name: 1 / len(seen.last_turn) for name in seen.last_turn}


def _least_loaded(seen: _Seen, turn: Served) -> Expected:
    """Any of those with the fewest."""
    least = seen.least()
    return {name: 1 / len(least) for name in least}


def _least_loaded_in_turn(seen: _Seen, turn: Served) -> Expected:
    return {seen.oldest(seen.least()): 1.0}


def _sticky(seen: _Seen, turn: Served) -> Expected:
    before = seen.of_session.get(turn.session)
    return _random(seen, turn) if before is None else {before: 1.0}


def _prefix_aware(otherwise: Rule) -> Rule:
    def rule(seen: _Seen, turn: Served) -> Expected:
        before = None if turn.from_nothing else seen.of_session.get(turn.session)
        return otherwise(seen, turn) if before is None else {before: 1.0}

    return rule


# By policy: a rule for each way to choose among equals.
_RULES: dict[str, tuple[Rule, ...]] = {
    "round-robin": (_round_robin,),
    "random": (_random,),
    "least-loaded": (_least_loaded, _least_loaded_in_turn),
    "sticky": (_sticky,),
    "prefix-aware": (_prefix_aware(_least_loaded), _prefix_aware(_least_loaded_in_turn)),
}
POLICIES = tuple(_RULES)


def guess(turns: Iterable[Served]) -> Guess | None:
    """None where fewer than two replicas have answered."""
    ordered = sorted(turns, key=lambda turn: turn.sent_at_s)
    names = {turn.replica for turn in ordered}
    if len(names) < 2:
        return None
    seen = _Seen(names)
    told = {policy: [0.0] * len(rules) for policy, rules in _RULES.items()}
    for turn in ordered:
        seen.now(turn.sent_at_s)
        for policy, rules in _RULES.items():
            for n, rule in enumerate(rules):
                chance = rule(seen, turn).get(turn.replica, 0.0)
                told[policy][n] += math.log2((1 - STRAY_SHARE) * chance + STRAY_SHARE / len(names))
        seen.add(turn)
    # A policy with two rules is as likely as the better, given beforehand that either may be.
    bits = {policy: max(each) - math.log2(len(each)) for policy, each in told.items()}
    likeliest = tuple(sorted(bits, key=lambda policy: -bits[policy]))
    ahead = bits[likeliest[0]] - bits[likeliest[1]]
    return Guess(
        policy=likeliest[0] if ahead >= LEAST_BITS else None,
        likeliest=likeliest,
        bits_ahead=ahead,
        turns=len(ordered),
    )
