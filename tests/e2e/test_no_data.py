"""No data is never success: a run in which no turn ended fails, with its page and JUnit file."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tests.support.stack import INVALID_RUN, LADDER, Stack


def test_a_run_without_a_finished_turn_fails_its_gate(stack: Stack, tmp_path: Path) -> None:
    url, junit = stack.engine("--speed", "1"), tmp_path / "junit.xml"
    finished = stack.locust(
        LADDER,
        *("--host", url, "--levels", "1k", "--hold", "4s", "--drain", "1s"),
        *("--slo", "ttft_p50<1s", "--junit", str(junit), "--run-name", "nothing"),
    )
    assert finished.code == INVALID_RUN, finished.printed
    assert "no turn was finished" in finished.out and "Verdict: INVALID" in finished.out
    assert (stack.runs / "nothing" / "report.html").is_file()
    suites = ElementTree.parse(junit).getroot()
    assert suites.findall(".//failure") + suites.findall(".//error")


def test_a_run_without_a_finished_turn_fails_without_a_gate(stack: Stack) -> None:
    url = stack.engine("--speed", "1")
    options = ("--levels", "1k", "--hold", "4s", "--drain", "1s")
    finished = stack.locust(LADDER, "--host", url, *options, "--run-name", "no-gate")
    assert finished.code == INVALID_RUN, finished.printed


def test_rates_of_a_few_tokens_are_refused(stack: Stack) -> None:
    finished = stack.locust(LADDER, "--host", "http://127.0.0.1:9", "--levels", "1,2")
    assert finished.code == 2
    assert "--levels '1': 1 input tokens per minute; accepted are rates from" in finished.err
