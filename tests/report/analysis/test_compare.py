from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest

from tests.support.known_truth import known_run, queue_ttft_s
from tests.support.records import ending, fingerprint, header
from tests.support.stored_runs import stored
from tokenswarm.__main__ import main
from tokenswarm.commands.compare import text
from tokenswarm.measure.ledger import Ledger
from tokenswarm.report.analysis.change import change
from tokenswarm.report.analysis.compare import ComparisonError, StoredRun, compare
from tokenswarm.report.analysis.sample import LevelSample, drawn_together
from tokenswarm.report.analysis.steps import steps
from tokenswarm.report.text.costs import Rates
from tokenswarm.report.text.terminal import NOT_TO_BE_USED

LADDER = [1e6, 2e6, 2.5e6]


def named(ledger: Ledger, engine: str, **target) -> Ledger:
    new = replace(header().target, engine=engine, **target)
    return replace(ledger, header=replace(ledger.header, target=new))


def slower(factor):
    return lambda load_tpm: factor * queue_ttft_s(load_tpm)


def runs(*ledgers):
    return [StoredRun(Path(f"runs/{ledger.header.target.engine}"), ledger) for ledger in ledgers]


FAST = named(known_run(LADDER), "fast")
SLOW = named(known_run(LADDER, slower(1.55)), "slow", simulated=False, model="m", url="http://s")


def test_the_seeds_table_at_a_chosen_tpm():
    shown = text(compare(runs(FAST, SLOW), at=2.5e6), Rates({}, ()))
    lines = shown.splitlines()
    assert lines[0] == "At 2.50M input TPM"
    fast = next(line for line in lines if line.startswith("fast"))
    assert fast.split()[:3] == ["fast", "(simulated)", "4"]
    assert "625k" in fast  # per GPU on four
    assert "runs/fast: SIMULATED by fast" in shown
    assert "runs/slow: m at http://s (slow, 4 GPUs)" in shown


def test_paired_runs_show_a_difference_that_their_own_intervals_hide():
    """The same sessions, 15% slower: each p50 is known to 10% only, their quotient exactly."""
    base, other = known_run(LADDER), known_run(LADDER, slower(1.15))
    pair = drawn_together([base, other])
    first, second = (
        LevelSample(sample, steps(ledger)[0])
        for sample, ledger in zip(pair, (base, other), strict=True)
    )
    by = change(first, second, "ttft", 50)
    own = first.timing("ttft", [50])[0].interval()
    assert own.high / own.low > 1.15
    assert by.seen is True
    assert by.by.low == pytest.approx(1.15) and by.by.high == pytest.approx(1.15)


def test_independent_runs_of_one_engine_rarely_differ():
    """60 pairs: 5% should; at most 8 (two standard deviations: 6.4)."""
    seen = 0
    for seed in range(60):
        ledgers = [known_run([1e6], turns=150, seed=2 * seed + one) for one in (0, 1)]
        samples = drawn_together(ledgers)
        levels = [
            LevelSample(sample, steps(ledger)[0])
            for sample, ledger in zip(samples, ledgers, strict=True)
        ]
        seen += bool(change(levels[0], levels[1], "ttft", 50).seen)
    assert seen <= 8


def test_a_share_changes_by_a_difference():
    ledgers = [known_run([1e6], turns=600), known_run([1e6], turns=600, failures=0.1)]
    samples = drawn_together(ledgers)
    levels = [LevelSample(s, steps(ledger)[0]) for s, ledger in zip(samples, ledgers, strict=True)]
    found = change(levels[0], levels[1], "failures", None)
    assert found.none == 0.0 and found.seen is True
    assert found.by.low < 0.1 < found.by.high
    assert 0 < found.detectable() < 0.1


def test_unequal_fingerprints_are_refused_and_the_difference_named(tmp_path, capsys):
    other = replace(SLOW, header=replace(SLOW.header, fingerprint=fingerprint(seed=2)))
    paths = [str(stored(tmp_path / name, run)) for name, run in (("a", FAST), ("b", other))]
    assert main(["compare", *paths]) == 2
    error = capsys.readouterr().err
    assert f"{paths[1]} did not send the workload of {paths[0]}: seed: 1 against 2" in error


def test_the_headline_is_the_highest_level_that_a_run_keeps_up_with():
    ledger = known_run([1e6, 2e6], lambda load_tpm: 1.0 if load_tpm < 1.5e6 else 400.0)
    assert compare(runs(ledger, ledger)).chosen.asked == 1e6
    assert compare(runs(ledger, FAST)).chosen.asked == 2e6


def test_a_level_that_not_all_runs_have_is_refused():
    with pytest.raises(ComparisonError, match="--at 3e.06: accepted are .* 1.00M input TPM"):
        compare(runs(FAST, SLOW), at=3e6)
    with pytest.raises(ComparisonError, match="no traffic level in common"):
        compare(runs(FAST, known_run([9e5])))


def test_the_command_prints_and_draws(tmp_path, capsys):
    paths = [str(stored(tmp_path / name, run)) for name, run in (("a", FAST), ("b", SLOW))]
    picture = tmp_path / "both.svg"
    assert main(["compare", *paths, "--at", "2.5M", "--plot", str(picture)]) == 0
    assert "x1.55" in capsys.readouterr().out
    assert "Simulated: fast." in picture.read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "accepted are two runs or more"),
        (["B", "--at", "much"], "--at 'much'"),
        (["B", "--plot", "a.bmp"], "must end in .png or .svg"),
        (["B", "--gpu-hour", "abc"], "--gpu-hour 'abc': accepted are US dollars above 0"),
        (["B", "--gpu-hour", "x=4"], "--gpu-hour 'x=4': no target 'x'; accepted: fast (a), fast"),
        (["B", "--model", "nosuch"], "--model 'nosuch': not in"),
        (["B", "--slo", "ttft<1s"], "'ttft<1s'"),
        (["/missing"], "no ledger"),
    ],
)
def test_bad_input_exits_2(tmp_path, capsys, more, message):
    run = str(stored(tmp_path / "a", FAST))
    assert main(["compare", run, *(run if word == "B" else word for word in more)]) == 2
    assert message in capsys.readouterr().err


def test_two_runs_of_one_engine_are_told_apart_by_their_folders():
    runs = [StoredRun(Path("runs") / name, known_run([1e6], seed=n)) for n, name in enumerate("ab")]
    assert compare(runs).names == ("sim:trtllm-like (a)", "sim:trtllm-like (b)")


def test_an_invalid_run_exits_4_unless_that_is_allowed(tmp_path, capsys):
    good = stored(tmp_path / "good", known_run([1e6], turns=40))
    bad = stored(tmp_path / "bad", known_run([1e6], turns=40))
    with (bad / "ledger.jsonl").open("ab") as ledger:
        end = asdict(ending(workers=2, workers_lost=1))
        ledger.write(orjson.dumps({"end": end}, option=orjson.OPT_APPEND_NEWLINE))
    assert main(["compare", str(good), str(good)]) == 0
    assert main(["compare", f"a={good}", f"b={bad}"]) == 4
    assert "INVALID: b; exit code 4" in capsys.readouterr().out
    assert main(["compare", f"a={good}", f"b={bad}", "--allow-invalid"]) == 0
    capsys.readouterr()
    assert main(["report", str(bad)]) == 4
    assert f"{NOT_TO_BE_USED}\nKnee: " in capsys.readouterr().out
