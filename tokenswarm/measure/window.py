"""Window: which part of a level counts, and when its endpoint kept up. One number, one place."""

from __future__ import annotations

# Of a level's length, left out at its beginning: queues of the level before are worked off, new
# sessions arrive with prompts that no cache holds (docs/engine.md 7, rule 5).
WARM_UP_SHARE = 0.3
# Of the offered rate: an endpoint that achieves less is falling behind, and its mix of turns is
# that of its queue; a few turns at a window's edges are within it (guess).
KEPT_UP_SHARE = 0.95
