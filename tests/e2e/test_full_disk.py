"""A run whose disk fills up: said once, its traffic stops, and what does not fit is kept."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import (
    INVALID_RUN,
    LADDER,
    PREFLIGHT_REQUESTS,
    ROOT,
    Stack,
    metrics,
)
from tokenswarm.__main__ import main
from tokenswarm.measure.ledger import read_run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs root, and a kernel that lets it mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_loses_no_turn(stack: Stack, small_disk: Path) -> None:
    url = stack.engine("--speed", "20")
    ladder = stack.start(
        "locust",
        *("-f", str(ROOT / "locustfiles" / LADDER), "--headless", "--only-summary", "--host", url),
        *("--runs", str(small_disk), "--run-name", "full", "--profile", "small"),
        *("--levels", "1M", "--hold", "2h", "--ramp", "5s", "--max-developers", "40"),
        env={},
    )
    finished = ladder.wait()
    assert finished.code == INVALID_RUN, finished.printed
    assert finished.err.count("the ledger cannot be written") == 1
    assert "Traceback" not in finished.printed
    assert "INVALID  end: " in finished.out
    folder = small_disk / "full"
    assert main(["report", str(folder)]) == INVALID_RUN
    whole = folder.parent.parent / "whole"
    whole.mkdir()
    rest = finished.out.partition("cat ")[2].partition(" >>")[0]
    lines = (folder / "ledger.jsonl").read_bytes() + Path(rest).read_bytes()
    (whole / "ledger.jsonl").write_bytes(lines)
    Path(rest).unlink()
    ledger = read_run(whole)
    assert ledger.ending is not None and ledger.torn_lines == 0
    ended = sum(record.outcome == "ok" for record in ledger.records)
    assert ended + PREFLIGHT_REQUESTS == metrics(url)["sim:requests_finished_total"]
