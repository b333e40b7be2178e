"""Are the levels of a ladder on profile? The demo's ladder over many seeds, in virtual time.

    python -m scripts.levels_on_profile --seeds 32

Prints, against the figures of an endless run of profile seed: the bias of the mean prompt and of
its p90 with their standard errors, by level and over all; the share of turns that a ticket called
early; in how many seeds every figure of the workload table is within its tolerance, which is what
the check "workload" of the verdict asks; and the whole verdict of each seed that is not VALID.
SIMULATED: the rule that deals tickets is the one of real traffic, the engine is the embedded one
without HTTP.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from tests.support.records import ending, header, turn_record
from tokenswarm.engine.offline import run as offline
from tokenswarm.engine.offline.run import Load, SimulatedRun
from tokenswarm.engine.offline.traffic import SimulatedTurn
from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import Level, TurnRecord
from tokenswarm.measure.verdict import VALID, Verdict
from tokenswarm.measure.window import KEPT_UP_SHARE
from tokenswarm.report.analysis.result import result
from workload import fidelity, figures
from workload.figures import Sample
from workload.profiles import SEED

PRESET = "trtllm-like"
LEVELS_TPM = (0.5e6, 1e6, 1.5e6, 2e6, 2.5e6, 3e6)
DEMO = Load(levels_tpm=LEVELS_TPM, hold_s=600.0)


class Ladder(NamedTuple):
    """What one seed's ladder sent. Biases are shares of the profile's own figure."""

    mean_bias: float
    p90_bias: float
    level_mean_bias: tuple[float, ...]
    early_share: float
    early_p50_s: float
    met: int
    on_profile: bool
    verdict: Verdict


def ladder(seed: int, load: Load = DEMO) -> Ladder:
    """One run, its warm-ups left out."""
    run = offline.run(PRESETS[PRESET], SEED, load, seed)
    by_level = [_sent(run, level) for level in range(len(load.levels_tpm))]
    mean, p90 = (_promised(quantity) for quantity in ("prompt mean", "prompt p90"))
    sent = [turn for turns in by_level for turn in turns]
    prompts = [turn.prompt_tokens for turn in sent]
    early_s = [turn.early_s for turn in sent if turn.early_s > 0]
    kept_up = [turns for level, turns in enumerate(by_level) if _kept_up(run, level)]
    return Ladder(
        mean_bias=float(np.mean(prompts)) / mean - 1,
        p90_bias=float(np.percentile(prompts, 90)) / p90 - 1,
        level_mean_bias=tuple(
            float(np.mean([turn.prompt_tokens for turn in turns])) / mean - 1 for turns in by_level
        ),
        early_share=len(early_s) / len(sent),
        early_p50_s=float(np.median(early_s)),
        met=sum(turn.kind == "met" for turn in run.turns),
        on_profile=_on_profile([turn for turns in kept_up or by_level for turn in turns]),
        verdict=result(_ledger(run)).verdict,
    )


def bias(values: Sequence[float]) -> tuple[float, float]:
    """(mean, its standard error)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--first-seed", type=int, default=1)
    options = parser.parse_args()
    first = options.first_seed
    ladders = [ladder(seed) for seed in range(first, first + options.seeds)]
    rows = [
        (f"{tpm / 1e6:g}M TPM, mean prompt", *bias([one.level_mean_bias[level] for one in ladders]))
        for level, tpm in enumerate(LEVELS_TPM)
    ]
    rows.append(("all levels, mean prompt", *bias([one.mean_bias for one in ladders])))
    rows.append(("all levels, p90", *bias([one.p90_bias for one in ladders])))
    print(f"SIMULATED by {PRESET}, {len(ladders)} seeds from {first}, levels of 10 minutes")
    shown = [(name, f"{mean:+.2%}", f"{error:.2%}") for name, mean, error in rows]
    print(tabulate(shown, ("profile seed", "bias", "standard error"), colalign=("left", "right")))
    print(
        f"early: {np.mean([one.early_share for one in ladders]):.0%} of the turns, "
        f"{np.mean([one.early_p50_s for one in ladders]):.1f} s in the median; "
        f"met in mid-session: {np.mean([one.met for one in ladders]):.0f} a run"
    )
    print(f"on profile: {sum(one.on_profile for one in ladders)} of {len(ladders)}")
    print(f"VALID: {sum(one.verdict.grade == VALID for one in ladders)} of {len(ladders)}")
    for seed, one in enumerate(ladders, first):
        for check in one.verdict.checks:
            if check.grade not in (None, VALID):
                print(f"  seed {seed}: {check.grade}, {check.name}: {check.finding}")


def _ledger(run: SimulatedRun) -> Ledger:
    """As a driven run of the seed writes it, as far as checks of the traffic look."""
    levels = [
        Level(
            index=index,
            target_tpm=tpm,
            developers=None,
            started_at_s=index * run.load.hold_s,
            ended_at_s=(index + 1) * run.load.hold_s,
        )
        for index, tpm in enumerate(run.load.levels_tpm)
    ]
    return Ledger(
        replace(header(), driven=True, speed=1.0),
        [_record(turn, run.load) for turn in run.turns],
        levels,
        workload=fidelity.workload(SEED),
        ending=ending(at_s=run.load.cut_s),
    )


def _record(turn: SimulatedTurn, load: Load) -> TurnRecord:
    first_s, answered = turn.first_token_at_s, turn.outcome == "ok"
    ended_at_s = load.cut_s if turn.ended_at_s is None else turn.ended_at_s
    return turn_record(
        session=turn.session,
        turn=turn.turn,
        kind=turn.kind,
        level=min(int(turn.scheduled_at_s // load.hold_s), len(load.levels_tpm) - 1),
        text_tokens=turn.prompt_tokens,
        planned_prompt_tokens=turn.prompt_tokens,
        planned_output_tokens=turn.sequence.output_tokens,
        ideal_cached_tokens=turn.ideal_cached_tokens,
        scheduled_at_s=turn.scheduled_at_s,
        sent_at_s=turn.sent_at_s,
        free_at_s=turn.sent_at_s,
        early_s=turn.early_s,
        body_sent_at_s=turn.sent_at_s,
        head_at_s=first_s,
        first_token_at_s=first_s,
        first_visible_at_s=first_s,
        last_token_at_s=None if first_s is None else ended_at_s,
        ended_at_s=ended_at_s,
        prompt_tokens=turn.prompt_tokens if answered else None,
        cached_tokens=turn.cached_tokens if answered else None,
        output_tokens=turn.output_tokens if answered else None,
        output_chunks=turn.output_chunks,
        stamps="engine",
        outcome=turn.outcome,
    )


def _sent(run: SimulatedRun, level: int) -> list[SimulatedTurn]:
    start_s, end_s = run.load.window(level)
    return [turn for turn in run.turns if start_s <= turn.scheduled_at_s < end_s]


def _kept_up(run: SimulatedRun, level: int) -> bool:
    seen = run.figures(level)
    return seen.achieved_tpm >= KEPT_UP_SHARE * seen.offered_tpm


def _promised(quantity: str) -> float:
    promises = fidelity.workload(SEED).promises
    return next(promise.target for promise in promises if promise.quantity == quantity)


def _on_profile(turns: Sequence[SimulatedTurn]) -> bool:
    sample = Sample(
        np.array([turn.prompt_tokens for turn in turns]),
        np.array([turn.sequence.output_tokens for turn in turns]),
        np.array([turn.ideal_cached_tokens for turn in turns]),
        np.array([turn.kind for turn in turns]),
    )
    rows = figures.rows(fidelity.workload(SEED).promises, sample)
    return all(row.verdict != "off" for row in rows)


if __name__ == "__main__":
    main()
