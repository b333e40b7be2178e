"""Alternation: the order of legs, their command lines, and what is refused before any traffic."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support.records import ending
from tests.support.runs import ladder_run
from tests.support.stored_runs import stored

ROOT = Path(__file__).parents[2]
A, B = ("--target", "a=http://127.0.0.1:1"), ("--target", "b=http://127.0.0.1:2")
# In a process of its own: importing Locust patches the standard library.
LEGS = """
import json, sys
from tokenswarm.commands import turns
options, rest = turns.parser().parse_known_args(sys.argv[1:])
plan = turns._plan(options, rest)
print(json.dumps([(leg.path, plan.words(leg), leg.target.key_variable) for leg in plan.legs()]))
"""


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, *words), cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def alternate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "tokenswarm", "turns", "--runs", str(folder), *words)


def test_legs_reverse_their_order_and_change_their_seed_from_round_to_round() -> None:
    c = ("--target", "c.d=http://127.0.0.1:3 --gpus 8 --model m")
    shown = python("-c", LEGS, "--runs", "r", "--rounds", "3", "--seed", "7", "--levels", "1M",
                   *A, *B, *c)  # fmt: skip
    legs = json.loads(shown.stdout)
    assert [path for path, _, _ in legs] == [
        "a/round-1", "b/round-1", "c.d/round-1",
        "c.d/round-2", "b/round-2", "a/round-2",
        "a/round-3", "b/round-3", "c.d/round-3",
    ]  # fmt: skip
    seeds = [words[words.index("--seed") + 1] for _, words, _ in legs]
    assert seeds == ["7"] * 3 + ["8"] * 3 + ["9"] * 3
    for path, words, key in legs:
        own = path.startswith("c.d/")
        assert ("--gpus" in words, "--model" in words) == (own, own)
        assert words[words.index("--levels") + 1] == "1M"
        assert words[words.index("--run-name") + 1] == path.split("/")[1]
        assert key == f"TOKENSWARM_API_KEY_{'C_D' if own else path[0].upper()}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (A, "accepted are two or more"),
        ((*A, *A), "each named once"),
        ((*A, "--target", "b"), "--target 'b': accepted is NAME=URL"),
        ((*A, "--target", "../b=http://h"), "accepted is NAME=URL"),
        ((*A, "--target", "b=http://h 'x"), "--target \"b=http://h 'x\": No closing quotation"),
        ((*A, "--target", "b=ftp://h"), "does not begin with http"),
        ((*A, "--target", "b=http://127.0.0.1:2 --gpus -3"), "--gpus -3: accepted are"),
        ((*A, *B, "--rounds", "0"), "--rounds 0: accepted are whole numbers from 1 on"),
        ((*A, *B, "--host", "http://h"), "--host: is set for each leg"),
        ((*A, *B, "--levels", "much"), "--levels 'much'"),
        ((*A, *B, "--no-such-option"), "--no-such-option"),
        ((*A, *B, "--at", "much"), "--at 'much'"),
        ((*A, *B, "--plot", "a.bmp"), "must end in .png or .svg"),
        ((*A, *B, "-f", "missing.py"), "no such file"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_any_traffic(tmp_path: Path, words, message) -> None:
    folder = tmp_path / "ab"
    refused = alternate(folder, *words)
    assert refused.returncode == 2, refused.stderr
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not folder.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [("[]", "holds no alternation"), ('{"plan": {"seed": 4}, "ended": {}}', "not [[")],
)
def test_a_folder_of_something_else_is_refused(tmp_path: Path, content, message) -> None:
    (tmp_path / "alternation.json").write_text(content)
    refused = alternate(tmp_path, *A, *B)
    assert refused.returncode == 2
    assert message in refused.stderr and "Traceback" not in refused.stderr


def test_an_invalid_leg_makes_the_comparison_fail_whatever_its_own_code_was(tmp_path: Path) -> None:
    """A leg that --max-failures ended exits with 1, though its run may be INVALID as well."""
    folder = tmp_path / "ab"
    for name in ("a", "b"):
        leg = stored(folder / name / "round-1", ladder_run(targets_tpm=(1e6,)))
        if name == "b":
            with (leg / "ledger.jsonl").open("a") as ledger:
                end = asdict(ending(workers=2, workers_lost=1))
                ledger.write(json.dumps({"end": end}) + "\n")
    plan = {"targets": [["a", A[1][2:]], ["b", B[1][2:]]], "seed": 1, "options": []}
    codes = {"a/round-1": 0, "b/round-1": 1}
    state = {"plan": plan | {"locustfile": "tpm_ladder.py"}, "ended": codes}
    (folder / "alternation.json").write_text(json.dumps(state))
    shown = alternate(folder, *A, *B, "--rounds", "1")
    assert "INVALID: " in shown.stdout and "b/round-1: exit code 1" in shown.stdout, shown.stderr
    assert shown.returncode == 4


def test_an_endpoint_that_does_not_answer_stops_it(tmp_path: Path) -> None:
    refused = alternate(tmp_path, *A, *B)
    assert refused.returncode == 2
    assert "Connection refused" in refused.stderr
    assert not (tmp_path / "alternation.json").exists()
