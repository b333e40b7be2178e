"""The same core in virtual time and over HTTP: the same numbers, within what seeds alone move.

One level of a real ladder at 20 engine seconds a second, against 16 offline runs of that level.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass

import pytest

from tests.support.stack import LADDER, Stack
from tokenswarm.engine.offline import run as offline_run
from tokenswarm.engine.offline.run import Figures, Load
from tokenswarm.engine.physics.presets import DEFAULT_PRESET, PRESETS
from tokenswarm.measure.ledger import read_run
from tokenswarm.measure.tally import Summary
from tokenswarm.report.analysis.steps import steps
from workload.profiles import SEED

SPEED = 20
TPM = 2e6
HOLD_S = 480.0  # 24 s of wall time
SEEDS = range(16)


@dataclass(frozen=True)
class Both:
    http: Summary
    offline: list[Figures]
    late_s: float  # p99 of the engine's process, in engine seconds


@pytest.fixture(scope="module")
def both(stack: Stack) -> Both:
    url = stack.engine("--speed", str(SPEED))
    level = ("--levels", f"{TPM:.0f}", "--hold", f"{HOLD_S:g}s")
    finished = stack.locust(LADDER, "--host", url, "--run-name", "level", *level)
    assert finished.ran, finished.printed
    (step,) = steps(read_run(stack.runs / "level"))
    with urllib.request.urlopen(f"{url}/sim/info", timeout=10) as response:
        info = json.load(response)
    late_s = SPEED * max(info["lateness_p99_s"] or 0, info["arrival_lateness_p99_s"] or 0)
    load = Load(levels_tpm=(TPM,), hold_s=HOLD_S)
    preset = PRESETS[DEFAULT_PRESET]
    figures = [offline_run.run(preset, SEED, load, seed).figures(0) for seed in SEEDS]
    return Both(step.summary, figures, late_s)


def between(value: float | None, known: list[float], below: float, above: float) -> bool:
    """Within the range of the offline seeds, widened by these amounts."""
    assert value is not None
    return min(known) - below <= value <= max(known) + above


def test_ttft_is_within_the_scatter_of_seeds(both: Both) -> None:
    """The range of 16 seeds, and what the engine's process was late by."""
    ttfts = [figures.ttft_p50_s for figures in both.offline]
    assert between(both.http.ttft_s.p50, ttfts, 0.02, 0.02 + both.late_s)


def test_decode_speed_is_within_the_scatter_of_seeds(both: Both) -> None:
    """A stream is written at most every 0.2 engine seconds, so the last token is seen that late:
    in an answer of 2 s, 10 % of its speed."""
    speeds = [figures.tps_p50 for figures in both.offline]
    assert between(both.http.decode_tps.p50, speeds, 0.15 * min(speeds), 0.15 * max(speeds))


def test_hit_share_and_achieved_tpm_are_within_the_scatter_of_seeds(both: Both) -> None:
    hits = [figures.hit_share for figures in both.offline]
    achieved = [figures.achieved_tpm for figures in both.offline]
    assert between(both.http.hit_share, hits, 0.02, 0.02)
    assert between(both.http.achieved_tpm, achieved, 0.03 * TPM, 0.03 * TPM)
    assert both.http.offered_tpm == pytest.approx(TPM, rel=0.05)
