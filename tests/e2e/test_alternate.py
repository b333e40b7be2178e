"""Two engines of different presets take turns; a run that was killed goes on."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from tests.support.stack import RUN_TIMEOUT_S, Finished, Stack, until
from tokenswarm.measure.ledger import read_header, read_run

LEG = ("--levels", "1M", "--hold", "3m", "--max-developers", "40", "--at", "1M")


@dataclass(frozen=True)
class Series:
    folder: Path
    options: tuple[str, ...]
    killed: Finished  # in the second leg
    finished: Finished

    def leg(self, path: str) -> Path:
        return self.folder / path


@pytest.fixture(scope="module")
def series(stack: Stack) -> Series:
    fast, slow = (stack.engine("--clock", "driven", "--preset", f"{name}-like")
                  for name in ("together", "sglang"))  # fmt: skip
    folder = stack.runs / "ab"
    targets = ("--target", f"fast={fast}", "--target", f"slow={slow} --gpus 7")
    options = (*targets, "--runs", str(folder), "--rounds", "2", *LEG)
    first = stack.start("tokenswarm", "turns", *options, env={})
    begun = until(lambda: (folder / "slow/round-1/ledger.jsonl").exists(), RUN_TIMEOUT_S)
    assert begun, first.out.read_text() + first.err.read_text()
    first.process.send_signal(signal.SIGINT)
    killed = first.wait()
    return Series(
        folder, options, killed, stack.start("tokenswarm", "turns", *options, env={}).wait()
    )


def test_it_stops_in_order_and_says_how_to_go_on(series: Series) -> None:
    assert series.killed.code == 130
    assert "slow/round-1 interrupted; the same command goes on" in series.killed.err
    assert "Traceback" not in series.killed.printed
    ended = orjson.loads((series.folder / "alternation.json").read_bytes())["ended"]
    assert list(ended) == ["fast/round-1", "slow/round-1", "slow/round-2", "fast/round-2"]


def test_it_goes_on_with_the_leg_that_was_cut_off(series: Series) -> None:
    assert series.finished.code in (0, 4), series.finished.printed  # INVALID on a busy machine
    assert "turns: slow, round 1 of 2 (leg 1 of 3)" in series.finished.out
    aside = list((series.folder / "slow" / "unfinished").iterdir())
    assert [folder.name.rsplit("-", 2)[0] for folder in aside] == ["round-1"]


def test_order_is_reversed_from_round_to_round(series: Series) -> None:
    legs = ("fast/round-1", "slow/round-1", "slow/round-2", "fast/round-2")
    starts = [read_header(series.leg(path)).started_at for path in legs]
    assert starts == sorted(starts)


def test_a_round_has_one_workload_and_the_next_another_seed(series: Series) -> None:
    prompts = {
        path: {(r.session, r.turn): r.text_tokens for r in read_run(series.leg(path)).records}
        for path in ("fast/round-1", "slow/round-1", "fast/round-2", "slow/round-2")
    }
    first, second = prompts["fast/round-1"], prompts["slow/round-1"]
    shared = first.keys() & second.keys()
    assert len(shared) > 10
    assert [first[turn] for turn in shared] == [second[turn] for turn in shared]
    assert first != prompts["fast/round-2"]
    seeds = [read_header(series.leg(path)).fingerprint.seed for path in prompts]
    assert seeds == [1, 1, 2, 2]


def test_options_behind_an_address_are_of_that_target_alone(series: Series) -> None:
    gpus = [read_header(series.leg(f"{name}/round-1")).target.gpus for name in ("fast", "slow")]
    assert gpus == [4, 7]


def test_it_ends_with_the_comparison_of_the_pooled_rounds(series: Series) -> None:
    out = " ".join(series.finished.out.split())
    assert "At 1.00M input TPM" in out and "Left out" not in out
    for name in ("fast", "slow"):
        assert f"{series.folder / name}: 2 rounds pooled (round-1, round-2); SIMULATED by" in out


def test_another_plan_in_the_same_folder_is_refused(series: Series, stack: Stack) -> None:
    refused = stack.start("tokenswarm", "turns", *series.options, "--seed", "5", env={}).wait()
    assert refused.code == 2
    assert "holds an alternation with seed 1, not 5" in refused.err
