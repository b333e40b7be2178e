"""A capacity search, then a run that is held against it: exit codes, JUnit, refusals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest

from tests.support.stack import LADDER, Finished, Stack
from tokenswarm.measure.ledger import Ledger, read_run
from tokenswarm.measure.search import Search

CAPACITY = "capacity.py"
TOLERANCE = 0.6
INVALID_RUN = 4  # a busy machine makes the engine late, and the run says so


@dataclass(frozen=True)
class Found:
    url: str
    finished: Finished
    folder: Path
    ledger: Ledger


@pytest.fixture(scope="module")
def found(stack: Stack) -> Found:
    url = stack.engine("--clock", "driven", "--preset", "together-like")
    # A level of 2 minutes at 1M is 22 turns: a p50 of those is far below 3 s, and far above at 4M.
    options = ("--slo", "ttft_p50<3s", "--slo", "failures<5%", "--tolerance", "60%")
    sizes = (
        "--max-developers",
        "80",
        "--search-from",
        "1M",
        "--hold",
        "2m",
        "--drain",
        "30m",
        "--run-name",
        "search",
    )
    finished = stack.locust(CAPACITY, "--host", url, *options, *sizes)
    folder = stack.runs / "search"
    return Found(url, finished, folder, read_run(folder))


def test_the_search_ends_with_a_capacity_known_within_the_tolerance(found: Found) -> None:
    out = found.finished.printed
    assert found.finished.code == (INVALID_RUN if "Verdict: INVALID" in out else 0), out
    met, missed = _rates(out)
    assert met < missed <= met * (1 + TOLERANCE) * 1.01  # printed with three digits


def test_every_level_was_the_one_that_the_search_asks_for(found: Found) -> None:
    answers = re.findall(r"capacity search: \S+ (met|MISSED),", found.finished.printed)
    search = Search(lowest_tpm=1e6, highest_tpm=40e6, tolerance=TOLERANCE)
    asked = []
    for answer in answers:
        asked.append(search.next_tpm)
        search = search.answered(answer == "met")
    assert search.next_tpm is None
    assert [level.target_tpm for level in found.ledger.levels] == pytest.approx(asked)


def test_no_turn_is_cut_off_and_none_runs_into_the_next_level(found: Found) -> None:
    assert {record.outcome for record in found.ledger.records} == {"ok"}
    begins = [level.started_at_s for level in found.ledger.levels[1:]]
    for record in found.ledger.records:
        assert record.level is not None and record.sent_at_s is not None
        if record.level < len(begins):
            assert record.ended_at_s <= begins[record.level] + 1.0


def test_a_run_is_held_against_it_and_a_missed_slo_is_in_exit_code_and_junit(
    found: Found, stack: Stack
) -> None:
    junit = stack.runs.parent / "junit.xml"
    finished = stack.locust(
        LADDER, "--host", found.url, "--levels", "1M", "--hold", "150s", "--max-developers", "40",
        "--run-name", "gated", "--slo", "ttft_p50<1ms", "--baseline", str(found.folder),
        "--max-regress", "failures=50%", "--junit", str(junit),
    )  # fmt: skip
    out = finished.printed
    assert finished.code == (INVALID_RUN if "Verdict: INVALID" in out else 1), out
    assert f"Against the baseline {found.folder}:\nfailures=50% at 1.00M input TPM: 0.00%" in out
    failed = [case.get("name") for case in xml.parse(junit).iter("testcase") if len(case) and
              case[0].tag == "failure"]  # fmt: skip
    assert "ttft_p50<1ms at level 0" in failed


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        (LADDER, ("--baseline", "SEARCH", "--max-regress", "tpm=5%", "--seed", "7"),
         "of another workload: seed: 1 against 7"),
        (LADDER, ("--slo", "ttft<1s"), "SLO 'ttft<1s' needs a percentile"),
        (CAPACITY, (), "--slo is missing"),
        (CAPACITY, ("--slo", "ttft_p50<1s", "--junit", "junit.xml"), "a search judges nothing"),
        (CAPACITY, ("--slo", "tpm>1M"), "--slo 'tpm>1M': missed at every rate below it"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_before_any_traffic(
    found: Found, stack: Stack, file: str, options: tuple[str, ...], message: str
) -> None:
    told = [str(found.folder) if word == "SEARCH" else word for word in options]
    finished = stack.locust(file, "--host", found.url, "--run-name", "refused", *told)
    assert finished.code == 2, finished.printed
    assert message in finished.printed
    assert "Traceback" not in finished.printed
    assert not (stack.runs / "refused").exists()


def _rates(out: str) -> tuple[float, float]:
    line = re.search(r"capacity under .*: ([\d.]+)M is met, ([\d.]+)M is missed", out)
    assert line, out
    return float(line[1]), float(line[2])
