"""tokenswarm simulate curve, compare, whatif: what they print and write, and what they refuse."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.support.traces import line, written
from tokenswarm.__main__ import main
from tokenswarm.engine.offline.run import Load
from tokenswarm.engine.offline.study import PUBLISHED, TPM
from tokenswarm.engine.offline.sweep import Case, Point, sweep
from tokenswarm.engine.offline.what_if_text import changed
from tokenswarm.engine.physics.presets import PRESETS
from workload.profile import Profile
from workload.profiles import SEED

QUICK = "--profile small --seeds 2 --hold 3m --quiet --processes 1"


def run(command: str, capsys) -> str:
    assert main(["simulate", *shlex.split(command)]) == 0
    return capsys.readouterr().out


def refused(command: str, capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(main(["simulate", *shlex.split(command)]))
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert "SIMULATED" not in captured.out
    return captured.err


def test_a_curve_is_labelled_and_written(tmp_path: Path, capsys):
    picture, figures = tmp_path / "curve.png", tmp_path / "curve.json"
    printed = run(
        f"curve --preset trtllm-like,roofline --tpm 20k:60k:20k {QUICK} --plot {picture} "
        f"--json {figures}",
        capsys,
    )
    assert "SIMULATED by sim:trtllm-like, sim:roofline" in printed
    assert "profile small" in printed and "seeds 1 to 2" in printed
    assert [line.split()[:2] for line in printed.splitlines() if line.startswith("roofline")] == [
        ["roofline", asked] for asked in ("0.02M", "0.04M", "0.06M")
    ]
    assert "starts with an empty cache" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")
    written = json.loads(figures.read_bytes())
    assert written["simulated"] is True
    assert len(written["points"]) == 6
    first = written["points"][0]
    assert [seed["seed"] for seed in first["seeds"]] == [1, 2]
    low, high = sorted(seed["ttft_p50_s"] for seed in first["seeds"])
    assert low <= first["median"]["ttft_p50_s"]["value"] <= high


@pytest.mark.filterwarnings("error")
def test_what_was_cut_off_is_said_in_tables_and_left_out_of_pictures(tmp_path: Path, capsys):
    stuck = "prefix-cache=off,prefill-speed=0.05"
    load = "--seeds 6 --hold 5m --drain 10s --quiet --processes 1"
    curve, changes = tmp_path / "curve.png", tmp_path / "changes.png"
    printed = run(f"curve --tpm 50k:2M:1.95M {load} --change {stuck} --plot {curve}", capsys)
    rows = [line for line in printed.splitlines() if line.startswith("trtllm-like,")]
    assert ["cut off" in row for row in rows] == [False, True]
    printed = run(f"whatif --tpm 2M {load} {stuck} --plot {changes}", capsys)
    assert "cut off" in next(line for line in printed.splitlines() if line.startswith(stuck))
    assert curve.stat().st_size > 10_000 and changes.stat().st_size > 10_000


def test_developers_make_a_curve_as_well(tmp_path: Path, capsys):
    picture = tmp_path / "curve.svg"
    printed = run(f"curve --developers 2:6:4 {QUICK} --plot {picture}", capsys)
    assert "2 devs" in printed and "6 devs" in printed
    assert picture.stat().st_size > 10_000


def test_compare_puts_the_published_figures_beside_and_says_what_is_completed(capsys):
    printed = run("compare --seeds 1 --hold 3m --drain 1m --quiet --processes 1", capsys)
    for name, published in PUBLISHED.items():
        row = next(line for line in printed.splitlines() if line.startswith(f"sim:{name} "))
        assert f" {published.ttft_p50_s:g} " in row
        assert f"sim:{name} completes 2.50M" in printed or f"sim:{name} does NOT" in printed


def test_a_figure_of_the_study_stands_only_beside_its_own_rate(capsys):
    printed = run(f"compare --tpm 50k {QUICK}", capsys)
    row = next(line for line in printed.splitlines() if line.startswith("sim:sglang-like"))
    assert " 5.1 " not in row


def test_a_what_if_is_a_ratio_to_the_baseline(tmp_path: Path, capsys):
    picture = tmp_path / "what.png"
    printed = run(
        f"whatif --preset trtllm-like --tpm 50k {QUICK} prefill-speed=2,decode-speed=2 "
        f"growth-tokens=300 --plot {picture}",
        capsys,
    )
    rows = {line.split()[0]: line.split() for line in printed.splitlines() if "/2" in line}
    assert list(rows) == ["trtllm-like", "prefill-speed=2,decode-speed=2", "growth-tokens=300"]
    faster = rows["prefill-speed=2,decode-speed=2"]
    assert float(faster[3]) < 1 and float(faster[5]) == pytest.approx(2, rel=0.1)
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("curve --preset fast", "--preset 'fast': accepted are"),
        ("curve --tpm 0", "--tpm '0': accepted are rates above 0"),
        ("curve --tpm 4M:1M:1M", "FIRST <= LAST"),
        ("curve --tpm 1:9M:1", "at most 200 steps"),
        ("curve --tpm 1M:2M", "FIRST:LAST:STEP"),
        ("curve --developers 0", "--developers '0'"),
        ("curve --developers 2.5", "--developers '2.5'"),
        ("curve --seeds 0", "whole number of at least 1"),
        ("curve --profile none", "profile 'none' is not known"),
        ("curve --hold 0", "--hold '0'"),
        ("curve --plot curve.doc", "must end in .png"),
        ("curve --plot /nowhere/curve.png", "folder that exists"),
        ("curve --json /nowhere/curve.json", "folder that exists"),
        ("curve --arrival-cv -1", "number from 0 on"),
        ("curve --history none", "invalid choice"),
        ("compare --tpm 1M,2M", "accepted is one rate"),
        ("whatif", "required"),
        ("whatif speed=2", "what-if 'speed=2': accepted are NAME=VALUE"),
        ("whatif decode-speed=0", "decode-speed=FACTOR"),
        ("whatif decode-speed=nan", "decode-speed=FACTOR"),
        ("whatif acceptance=1.5", "acceptance=SHARE"),
        ("whatif kv-tokens=x", "kv-tokens=TOKENS"),
        ("whatif kv-tokens=1", "kv_tokens 1: accepted are 1024 or more"),
        ("whatif meaning=of_drafted", "give the acceptance"),
        ("whatif ranks=2,ranks=4", "'ranks=4' is the second of its name"),
        ("whatif gpus=5", "gpus 5"),
        ("whatif drafts=-1", "drafts"),
        ("whatif ranks=0", "ranks"),
        ("whatif --preset roofline decode-speed=2", "limit"),
        ("whatif growth-tokens=100M", "growth"),
        ("whatif --preset trtllm-like,roofline gpus=8", "--preset"),
    ],
)
def test_bad_input_names_itself_and_what_is_accepted(command, said, capsys):
    assert said in refused(command, capsys)


def test_the_presets_meet_the_study_on_a_few_seeds():
    """`make compare` shows it with 24 seeds; the median of 5 scatters by 7, 11 and 15 %."""
    load = Load(levels_tpm=(TPM,), hold_s=2_400, ramp_s=720)
    cases = [Case(label=n, preset=PRESETS[n], source=SEED, load=load) for n in PUBLISHED]
    together, trtllm, sglang = sweep(cases, range(1, 6), processes=2)
    for point, allowed in ((together, 0.2), (trtllm, 0.25), (sglang, 0.4)):
        published = PUBLISHED[point.case.label].ttft_p50_s
        assert value(point, "ttft_p50_s") == pytest.approx(published, rel=allowed)
    ratio = together.ratio(trtllm, "tps_p50")
    assert ratio is not None and 1.1 < ratio.value < 1.5


def value(point: Point, name: str) -> float:
    estimate = point.estimate(name)
    assert estimate is not None
    return estimate.value


def test_growth_keeps_its_shape():
    load = Load(levels_tpm=(TPM,))
    case = Case(label="", preset=PRESETS["trtllm-like"], source=SEED, load=load)
    source = changed(case, "growth-tokens=3k").source
    assert isinstance(source, Profile)
    grown = source.growth_tokens
    assert grown.mean == pytest.approx(3_000, rel=1e-3)
    assert grown.sigma == SEED.growth_tokens.sigma


def test_a_trace_is_simulated_in_place_of_a_profile(tmp_path: Path, capsys):
    trace = written(
        tmp_path / "two.jsonl",
        [line("a", 0, 9_000), line("a", 9, 9_500, kept_tokens=9_000), line("b", 0, 12_000)],
    )
    printed = run(f"curve --trace {trace} --tpm 100k {QUICK}", capsys)
    assert "profile trace-two.jsonl" in printed
    timed = f"--trace {trace} --trace-timing original --developers 2 {QUICK}"
    assert "2 devs" in run(f"curve {timed}", capsys)
    assert (
        "--trace-timing original: --tpm says when turns come; accepted with it: think"
        in refused(f"compare --trace {trace} --trace-timing original {QUICK}", capsys)
    )


def test_habits_stand_beside_the_same_sessions_without_them(capsys):
    printed = run(f"habits --habit tools-reordered --habit summary --developers 8 {QUICK}", capsys)
    rows = {row.split()[0]: row for row in printed.splitlines() if "%" in row}
    assert " 0% (0%) " in rows["tools-reordered"]
    assert "$" in rows["tools-reordered"] and "summary" in rows
    assert "tools-reordered: tools in another order in every request." in printed
