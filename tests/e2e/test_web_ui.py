"""The web UI in a real Chromium: a person starts, watches, changes, stops and downloads."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.stack import AGENTS, ROOT, START_TIMEOUT_S, Stack, free_port, listens, until
from tokenswarm.measure.ledger import Ledger, read_run
from tokenswarm.report.analysis.steps import steps
from tokenswarm.report.text.levels import row

KEY = "secret-key-5d1c"
VISIT_TIMEOUT_S = 480  # guess: takes 35 s on two idle cores
CI = os.environ.get("CI") == "true"  # there it fails where Chromium is missing
pytestmark = pytest.mark.skipif(
    shutil.which("chromium") is None and not CI, reason="no chromium: apt-get install chromium"
)


@pytest.fixture(scope="module")
def web_ui(stack: Stack) -> str:
    """A locust process with the web UI, the API key in its environment."""
    engine = stack.engine("--speed", "20", key=KEY)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ("--web-host", "127.0.0.1", "--web-port", str(port), "--loglevel", "DEBUG")
    locust = stack.start_locust(AGENTS, "--host", engine, *options, key=KEY)
    assert until(lambda: listens(port), START_TIMEOUT_S), locust.err.read_text()
    return url


@pytest.fixture(scope="module")
def visit(web_ui: str, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what the browser saw and downloaded."""
    folder = tmp_path_factory.mktemp("visit")
    finished = subprocess.run(
        [sys.executable, "-m", "tests.support.browser", web_ui, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=VISIT_TIMEOUT_S,
    )
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.fixture(scope="module")
def seen(visit: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((visit / "seen.json").read_text())
    return found


@pytest.fixture(scope="module")
def ledger(visit: Path, stack: Stack) -> Ledger:
    return read_run(stack.runs / "visited")


def test_the_page_fills_while_the_run_goes_on(seen: dict[str, Any]) -> None:
    assert seen["charts"] == 8
    assert seen["verdict_at_start"] == "nothing to judge yet: no level is over"
    assert seen["simulated"].startswith("SIMULATED by sim:")
    assert re.search(r"p50 \d.*, p90 \d.*, p99 \d", seen["ttft"])


def test_nothing_spills_over_its_place_on_a_phone_or_at_a_desk(seen: dict[str, Any]) -> None:
    assert seen["spilled"] == []


def test_a_new_rate_is_a_new_level_and_a_bad_one_is_refused(
    seen: dict[str, Any], ledger: Ledger
) -> None:
    assert "'fast'" in seen["bad_rate"] and "2.5M" in seen["bad_rate"]
    assert seen["changed"].startswith("Level 1: 1,500,000 tokens per minute")
    assert [level.target_tpm for level in ledger.levels] == [1e6, 1.5e6]


def test_more_developers_in_open_mode_leave_the_level_alone(seen: dict[str, Any]) -> None:
    assert seen["levels_after_edit"] == 2


def test_after_the_stop_the_page_shows_the_table_of_the_report(
    seen: dict[str, Any], ledger: Ledger
) -> None:
    assert seen["rows"] == [row(step, open_mode=True) for step in steps(ledger)]
    assert seen["verdict"] in ("VALID", "SUSPECT", "INVALID")


def test_the_page_starts_a_run_with_the_options_of_its_locustfile_tpm_first(
    seen: dict[str, Any], ledger: Ledger
) -> None:
    fields = seen["fields"]
    assert fields[0] == "tpm" and {"user_count", "objectives", "seed", "gpus"} <= set(fields)
    assert not {"levels", "hold", "search_from", "runs", "insecure"} & set(fields)
    assert {"seed", "agentic", "wild", "small"} <= set(seen["profiles"])
    assert "TTFT p50 &lt; 9 s" in seen["report"] and "visited" in seen["report"]


def test_the_downloads_hold_every_turn_and_level(visit: Path, ledger: Ledger) -> None:
    with (visit / "turns.csv").open(newline="") as file:
        turns = list(csv.DictReader(file))
    assert len(turns) == len(ledger.records) > 0
    of_page = {(turn["session"], turn["turn"]): turn for turn in turns}
    for record in ledger.records:
        turn = of_page[record.session, str(record.turn)]
        assert float(turn["scheduled_at_s"]) == record.scheduled_at_s
        assert turn["ttft_s"] == ("" if record.ttft_s is None else str(record.ttft_s))
        assert turn["outcome"] == record.outcome
    with (visit / "levels.csv").open(newline="") as file:
        levels = list(csv.DictReader(file))
    assert [float(level["ttft_s_p50"]) for level in levels] == [
        step.summary.ttft_s.p50 for step in steps(ledger)
    ]


def test_no_page_fails_and_nothing_is_asked_of_another_machine(seen: dict[str, Any]) -> None:
    assert seen["errors"] == []
    assert [text for text in seen["refused"] if not text.endswith("/coding-agents/tpm")] == []
    hosts = {urlsplit(url).hostname for url in seen["requests"] if not url.startswith("data:")}
    assert hosts == {"127.0.0.1"}


def test_texts_of_others_stay_texts(seen: dict[str, Any]) -> None:
    assert seen["marked"] == 0
    assert seen["title"] == "Coding agents · tokenswarm"  # a script would have changed it


def test_the_api_key_is_on_no_page_and_in_no_file(
    seen: dict[str, Any], visit: Path, web_ui: str, stack: Stack
) -> None:
    pages = ("", "stats/requests", "logs", "exceptions", "tasks", "stats/report")
    ours = ("", "data", "page.js", "form.js", "report.html", "turns.csv", "levels.csv")
    for page in (*pages, *(f"coding-agents/{name}" for name in ours)):
        with urllib.request.urlopen(f"{web_ui}/{page}", timeout=10) as response:
            assert KEY.encode() not in response.read(), page
    for path in (*stack.runs.parent.rglob("*"), *visit.rglob("*")):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


def test_a_page_that_was_given_our_address_gets_neither_the_data_nor_a_start(web_ui: str) -> None:
    """DNS rebinding: Host and Origin are both the strange page's."""
    port = urlsplit(web_ui).port
    rebound = {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}
    for path, body in (("coding-agents/data", None), ("swarm", b"host=http://evil.example")):
        request = urllib.request.Request(f"{web_ui}/{path}", data=body, headers=rebound)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 403 and b"--web-allowed-host" in refused.value.read()


def test_pages_of_other_sites_can_read_no_answer(web_ui: str) -> None:
    for path in ("", "stats/requests", "coding-agents/data"):
        request = urllib.request.Request(f"{web_ui}/{path}", headers={"Origin": "http://evil"})
        with urllib.request.urlopen(request, timeout=10) as response:
            assert "Access-Control-Allow-Origin" not in response.headers


def test_the_form_points_the_traffic_nowhere_else(web_ui: str) -> None:
    body = b"user_count=1&spawn_rate=1&host=http://evil.example"
    with urllib.request.urlopen(f"{web_ui}/swarm", data=body, timeout=10) as response:
        answer = json.load(response)
    assert not answer["success"] and "--allow-hosts" in answer["message"]


def test_the_start_form_has_what_a_run_needs_and_nothing_that_opens_files(web_ui: str) -> None:
    with urllib.request.urlopen(f"{web_ui}/", timeout=10) as response:
        page = response.read().decode()
    options = json.loads(page.partition("window.templateArgs = ")[2].partition("\n")[0])
    shown = options["extra_options"]
    assert {"tpm", "ramp", "seed", "model", "gpus", "run_name"} <= shown.keys()
    assert all(option["help_text"] for option in shown.values())
    hidden = {"runs", "corpus", "ca_file", "insecure", "trust_remote_code", "extra_body"}
    assert not hidden & shown.keys()
