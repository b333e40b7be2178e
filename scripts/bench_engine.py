"""What the engine costs offline, in virtual time: CPU per simulated minute, steps per second.

python scripts/bench_engine.py
"""

from __future__ import annotations

import time
from statistics import median

from tabulate import tabulate

from tokenswarm.engine.offline import run as offline_run
from tokenswarm.engine.offline.run import Load
from tokenswarm.engine.physics.presets import PRESETS, Preset
from workload.profiles import SEED
from workload.rates import mean_prompt_tokens

Row = tuple[str, float | str, str]

TPM = 2.5e6
MINUTES = 40.0
SHOWN_MINUTES = 10.0
RUNS = 3  # seeds; the median is shown
TARGET_CPU_S = 0.2  # of trtllm-like, the default preset


def main() -> list[Row]:
    mean_prompt_tokens(SEED)  # once per process, whatever is simulated
    rows: list[Row] = []
    for name, preset in PRESETS.items():
        costs = [_cost(preset, seed) for seed in range(1, 1 + RUNS)]
        cpu_s = median(cpu_s for cpu_s, _ in costs) * SHOWN_MINUTES / MINUTES
        per_s = median(steps / cpu_s for cpu_s, steps in costs)
        rows.append((f"{name}: {SHOWN_MINUTES:g} simulated minutes of 2.5M TPM", cpu_s, "s CPU"))
        rows.append((f"{name}: engine steps", per_s, "/s"))
    return rows


def _cost(preset: Preset, seed: int) -> tuple[float, int]:
    """CPU seconds and engine steps of one run."""
    load = Load(levels_tpm=(TPM,), hold_s=60 * MINUTES, ramp_s=12 * MINUTES)
    began_s = time.process_time()
    run = offline_run.run(preset, SEED, load, seed)
    return time.process_time() - began_s, run.fleet.replicas[0].counters.num_steps


if __name__ == "__main__":
    print(f"target: at most {TARGET_CPU_S} s of CPU for trtllm-like")
    print(tabulate(main(), ("what", "value", "unit"), floatfmt=".3g"))
