"""The gate on the command line: exit codes, and the JUnit file."""

from dataclasses import asdict, replace
from xml.etree import ElementTree as xml

import orjson
import pytest

from tests.support.known_truth import known_run
from tests.support.records import ending, fingerprint, header
from tests.support.stored_runs import stored
from tokenswarm.__main__ import main
from tokenswarm.measure.ledger import LedgerWriter


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    fast = known_run([1e6], turns=250, seed=1)
    slow = known_run([1e6], lambda load_tpm: 2.0, turns=250, seed=2)
    return stored(folder / "fast", fast), stored(folder / "slow", slow)


def limited(run, baseline, *more, limit="ttft_p50=10%"):
    return main(["report", str(run), "--baseline", str(baseline), "--max-regress", limit, *more])


def test_a_regression_exits_1_and_says_so(runs, capsys):
    fast, slow = runs
    assert limited(slow, fast) == 1
    out = capsys.readouterr().out
    assert f"Against the baseline {fast}:" in out
    assert "REGRESSED" in out


def test_no_regression_exits_0(runs):
    fast, slow = runs
    assert limited(fast, slow) == 0


def test_a_missed_slo_exits_1_whatever_the_baseline_says(runs):
    fast, slow = runs
    assert limited(fast, slow, "--slo", "ttft_p50<1ms") == 1


def test_a_limit_that_cannot_be_judged_exits_3(runs, tmp_path):
    fast, _ = runs
    few = stored(tmp_path / "few", known_run([1e6], turns=20))
    assert limited(few, fast) == 3


def test_an_invalid_baseline_judges_nothing(runs, tmp_path, capsys):
    fast, slow = runs
    baseline = stored(tmp_path / "lost", known_run([1e6], turns=250, seed=1))
    with (baseline / "ledger.jsonl").open("ab") as ledger:
        end = asdict(ending(workers=2, workers_lost=1))
        ledger.write(orjson.dumps({"end": end}, option=orjson.OPT_APPEND_NEWLINE))
    assert limited(slow, baseline) == 3
    assert "unknown (the baseline is INVALID" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-regress", "ttft_p50=10%"], "--max-regress needs --baseline"),
        (["--baseline", "SLOW"], "--baseline needs --max-regress"),
        (["--baseline", "SLOW", "--max-regress", "ttft=10%"], "--max-regress 'ttft=10%'"),
        (["--baseline", "/missing", "--max-regress", "ttft_p50=10%"], "/missing: no ledger"),
        (["--baseline", "SLOW", "--max-regress", "tpm=1%", "--at", "9M"], "--at 9e+06: accepted"),
        (["--baseline", "SLOW", "--max-regress", "tpm=1%", "--at", "high"], "--at 'high'"),
        (["--junit", "/missing/junit.xml"], "/missing/junit.xml"),
    ],
)
def test_bad_input_exits_2(runs, capsys, arguments, message):
    fast, slow = map(str, runs)
    assert main(["report", fast, *(slow if word == "SLOW" else word for word in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_a_baseline_of_another_workload_exits_2_and_names_the_difference(runs, tmp_path, capsys):
    fast, _ = runs
    with LedgerWriter(tmp_path / "ledger.jsonl", header(fingerprint=fingerprint(seed=7))):
        pass
    assert limited(fast, tmp_path) == 2
    assert f"{fast} did not send the workload of {tmp_path}: seed: 7 against 1" in (
        capsys.readouterr().err
    )


def test_junit_holds_every_answer(runs, tmp_path):
    fast, slow = runs
    path = tmp_path / "junit.xml"
    more = ["--slo", "ttft_p50<1.5s", "--slo", "ttft_p99<9s", "--slo", "failures<1%"]
    assert limited(slow, fast, *more, "--junit", str(path)) == 1
    suite = xml.parse(path).getroot()
    found = {
        (case.get("classname"), case.get("name")): [
            kind for kind in ("failure", "skipped", "system-out") if case.find(kind) is not None
        ][0]
        for case in suite.iter("testcase")
    }
    assert found == {
        ("tokenswarm.slo", "ttft_p50<1.5s at level 0"): "failure",
        ("tokenswarm.slo", "ttft_p99<9s at level 0"): "skipped",  # 175 turns
        ("tokenswarm.slo", "failures<1% at level 0"): "system-out",
        ("tokenswarm.baseline", "ttft_p50=10% at 1.00M input TPM"): "failure",
        ("tokenswarm.verdict", "the run is valid"): "system-out",
    }
    counts = {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors")}
    assert counts == {"tests": "5", "failures": "2", "skipped": "1", "errors": "0"}
    assert "SIMULATED" in suite.find("properties/property[@name='target']").get("value")


def failing(folder, refused, turns=40):
    """A run of one level, its last turns refused."""
    run = known_run([1e6], turns=turns, seed=1)
    good, bad = run.records[: turns - refused], run.records[turns - refused :]
    records = [replace(r, outcome="http_429", status=429, detail="slow down") for r in bad]
    return stored(folder, replace(run, records=good + records))


def test_a_run_that_fails_too_often_fails_its_gate_without_being_asked(tmp_path, capsys):
    junit = tmp_path / "junit.xml"
    run = failing(tmp_path / "failing", 40)
    assert main(["report", str(run), "--junit", str(junit)]) == 1
    assert "Failures: level 0 lost 100.0% of its turns" in capsys.readouterr().out
    (case,) = (
        case
        for case in xml.parse(junit).getroot().iter("testcase")
        if case.get("name") == "failures<=10% at level 0"
    )
    assert case.find("failure") is not None


def test_a_run_that_fails_now_and_then_passes_and_an_objective_of_ones_own_decides(tmp_path):
    few = failing(tmp_path / "few", 2)
    assert main(["report", str(few)]) == 0
    assert main(["report", str(few), "--slo", "failures<0.5%"]) == 1
    all_of_it = failing(tmp_path / "all", 40)
    assert main(["report", str(all_of_it), "--slo", "failures<=100%"]) == 0
