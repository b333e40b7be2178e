"""How often the router's policy is told from client-side facts alone, on the offline engine.

    python scripts/routing_policies.py --seeds 100

One line for each policy: in how many seeds it was told, and what was said in the others. The facts
are those of a client: when a turn was sent and ended, its session, and the replica that answered.
Nothing of this is measured: the engine is simulated, and so is its router.
"""

from __future__ import annotations

import argparse
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

from tokenswarm.engine.core.router import ROUTINGS, Routing
from tokenswarm.engine.offline import run as offline
from tokenswarm.engine.offline.run import Load, SimulatedRun
from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.measure.routing import Served, guess
from workload.profiles import PROFILES
from workload.session import FROM_NOTHING


def main() -> None:
    options = _parser().parse_args()
    seeds = range(1, options.seeds + 1)
    print(
        f"SIMULATED: {options.replicas} replicas of {options.preset}, profile {options.profile}, "
        f"{options.developers} developers, {options.minutes:g} min, seeds 1 to {options.seeds}"
    )
    with ProcessPoolExecutor(options.processes) as pool:
        for routing in ROUTINGS:
            said = Counter(pool.map(partial(told, routing, options), seeds))
            others = ", ".join(f"{name} {n}" for name, n in said.most_common() if name != routing)
            print(f"{routing:<13} told in {said[routing]} of {len(seeds)} {others}".rstrip())


def told(routing: Routing, options: argparse.Namespace, seed: int) -> str:
    """What is said of one run."""
    preset = replace(PRESETS[options.preset], replicas=options.replicas, routing=routing)
    load = Load(developers=options.developers, hold_s=60 * options.minutes)
    found = guess(served(offline.run(preset, PROFILES[options.profile], load, seed)))
    return "no guess" if found is None else found.policy or "undecided"


def served(run: SimulatedRun) -> list[Served]:
    """The run's turns as a client sees them."""
    return [
        Served(
            session=turn.session,
            from_nothing=turn.kind in FROM_NOTHING,
            sent_at_s=turn.sent_at_s,
            ended_at_s=turn.ended_at_s,
            replica=turn.replica,
        )
        for turn in run.turns
        if turn.first_token_at_s is not None
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--seeds", type=int, default=100)
    add("--replicas", type=int, default=4)
    add("--developers", type=int, default=32)
    add("--minutes", type=float, default=10.0)
    add("--preset", default="trtllm-like", choices=sorted(PRESETS))
    add("--profile", default="seed", choices=sorted(PROFILES))
    add("--processes", type=int)
    return parser


if __name__ == "__main__":
    main()
