"""Of the routing: do sessions stay where their prefix is, and do all replicas get their share?"""

from __future__ import annotations

from tokenswarm.measure.routing import Routing
from tokenswarm.measure.verdict.grades import Check, Limits, graded

# Fewer turns a replica than this may lie uneven by chance: 20 expected, 10 seen is p = 1%.
LEAST_EVEN_TURNS = 20


def affinity(found: Routing) -> Check:
    """Known by the header alone: by cached tokens, a session that was evicted looks the same."""
    share = found.cold_share
    said = "none" if share is None else f"{share:.0%}"
    # Without affinity a turn in N stays where it was by chance.
    bare = 1 - 1 / max(2, len(found.by_header))
    word = "holds" if not share or share <= 0.1 else "leaks" if share < bare / 2 else "absent"
    blind = (
        f"{said} of turns met a cache without their session, by cached tokens alone: without "
        "X-Replica, one that was evicted looks like one that was sent elsewhere"
    )
    return graded(
        "session affinity",
        None if found.cold_moved is None else share,
        Limits(
            suspect=0.1,
            invalid=None,
            unit="share",
            source="beyond a tenth, the tail of TTFT is the router's, not the engine's (guess)",
        ),
        f"of turns met a cold replica: affinity {word}, and "
        f"{found.refilled_tokens:,} tokens were prefilled again that another one held",
        "route by session (--session-header) or by prefix",
        unchecked="no turn continued a session" if share is None else blind,
    )


def balance(found: Routing) -> Check:
    """Whether a figure of the endpoint is one of all its replicas."""
    turns = [replica.turns for replica in found.replicas]
    even = sum(turns) / len(turns) if turns else 0.0
    seen = " to ".join(map(str, sorted(turns, reverse=True)))
    enough = len(turns) > 1 and even >= LEAST_EVEN_TURNS
    return graded(
        "replicas' balance",
        1 - min(turns) / even if enough else None,
        Limits(
            suspect=0.5,
            invalid=0.98,
            unit="share",
            source="one with half its share idles while others queue (guess); one with none was "
            "not measured at all",
        ),
        f"short of its even share was the least used replica: {seen} turns",
        "look at the router: its policy, its health checks, and what it goes by",
        unchecked="too few turns, or replicas that do not say who they are",
    )
