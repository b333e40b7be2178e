"""Day: how a developer's time divides when nothing but its own pauses holds it up.

A developer works through session after session. Each session begins after a human pause, and so
does each turn that the user writes; a turn that a tool result triggers begins after a tool pause.
With n = expected_turns, t = tool_share, H and T the mean pauses and S the service of a turn, the
seconds of a mean turn are

    start   H / n                        the pause before a session
    user    (1 - 1/n) (1 - t) H          the pause before the user writes again
    tool    (1 - 1/n) t T                the pause while a tool runs
    service S                            from the request to the end of the answer

and a moment picked at random falls into each in proportion. Sub-agents are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from workload.profile import Profile

# TTFT and answer of a turn on an engine that keeps up (docs/workload.md 7.1).
SERVICE_S = 8.0
# Of the pauses at most: a profile with short pauses is for an engine with short answers (guess).
SERVICE_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Day:
    """Seconds of a mean turn by what the developer does in them."""

    start_s: float
    user_s: float
    tool_s: float
    service_s: float

    @property
    def turn_s(self) -> float:
        """From the end of one turn to the end of the next."""
        return self.start_s + self.user_s + self.tool_s + self.service_s

    def moment(self, share: float) -> str:
        """Where a moment falls ("start", "user", "tool", "service"), given the share of the day
        (0 <= share < 1) that lies before it."""
        left_s = share * self.turn_s
        for name, part_s in (("start", self.start_s), ("user", self.user_s), ("tool", self.tool_s)):
            if left_s < part_s:
                return name
            left_s -= part_s
        return "service"


@lru_cache(maxsize=64)
def day(profile: Profile) -> Day:
    """By the profile's laws alone."""
    starts = 1 / profile.expected_turns()
    human_s = profile.human_gap_s.mean
    start_s = starts * human_s
    user_s = (1 - starts) * (1 - profile.tool_share) * human_s
    tool_s = (1 - starts) * profile.tool_share * profile.tool_gap_s.mean
    service_s = min(SERVICE_S, SERVICE_SHARE * (start_s + user_s + tool_s))
    return Day(start_s, user_s, tool_s, service_s)
