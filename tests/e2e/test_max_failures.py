"""A server that only refuses ends the run long before its time, with the reason everywhere."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from tests.support.recording_server import recording_server
from tests.support.stack import LADDER, PREFLIGHT_REQUESTS, Stack

SAID = "turns failed, and 20% are allowed (--max-failures); most with http_429: 429: quota"


@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["alone", "workers"])
def test_a_run_that_only_fails_ends_itself_and_says_why(
    stack: Stack, tmp_path: Path, processes: tuple[str, ...]
) -> None:
    junit, name = tmp_path / "junit.xml", f"refused{len(processes)}"
    with recording_server(refuses_from=PREFLIGHT_REQUESTS) as server:
        finished = stack.locust(
            LADDER,
            *("--host", server.url, "--profile", "small", "--levels", "600k", "--hold", "10m"),
            *("--junit", str(junit), "--run-name", name, "--max-retry-after", "0.1s", *processes),
        )
    assert finished.code == 1, finished.printed
    assert "STOPPED before its time: " in finished.out and "\x1b" not in finished.out
    summary = orjson.loads((stack.runs / name / "summary.json").read_bytes())
    assert SAID in summary["stopped"]
    whole = summary["whole_run"]
    assert whole["told_to_wait"] == whole["failed"]
    told = f"Retry-After: {whole['failed']} answers told a developer to stay away"
    assert (
        f"{told}, {whole['failed']} of them for over 0.1 s: no longer was waited." in finished.out
    )
    assert summary["failure_kinds"][0]["kind"] == "http_429"
    messages = [each.get("message") for each in ElementTree.parse(junit).iter("failure")]
    assert summary["stopped"] in messages
    assert SAID in (stack.runs / name / "report.html").read_text()
