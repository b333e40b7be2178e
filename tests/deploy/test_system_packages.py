"""scripts/system_packages.sh on machines that lack what it installs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "system_packages.sh"
PROGRAMS = ("promtool", "prometheus-pushgateway", "chromium")


def run(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """On a machine with the programs of `folder` and those of any shell; no apt-get."""
    for name in ("bash", "id", "cut", "env"):
        (folder / name).symlink_to(shutil.which(name) or name)
    return subprocess.run(
        ("bash", SCRIPT), env={"PATH": str(folder), **env}, capture_output=True, text=True
    )


def installed(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)


def test_nothing_is_said_where_all_is_there(tmp_path):
    installed(tmp_path, *PROGRAMS)
    done = run(tmp_path, CI="true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_cannot_be_installed_is_named_with_the_tests_that_are_skipped(tmp_path):
    installed(tmp_path, "promtool")
    done = run(tmp_path, SYSTEM="1")
    assert done.returncode == 0
    assert "no apt-get" in done.stdout and "no prometheus;" not in done.stdout
    assert "no prometheus-pushgateway; skipped: " in done.stdout
    assert "no chromium; skipped: " in done.stdout


def test_nothing_is_installed_unasked(tmp_path):
    installed(tmp_path, "promtool")
    done = run(tmp_path)
    assert done.returncode == 0
    assert "SYSTEM=1 make test would install prometheus-pushgateway chromium" in done.stdout
    assert "no chromium; skipped: " in done.stdout and "no apt-get" not in done.stdout


def test_the_tests_that_it_names_exist():
    named = re.findall(r"tests/[\w/]+\.py", SCRIPT.read_text())
    assert len(named) >= 4
    assert all((ROOT / path).is_file() for path in named)


@pytest.mark.parametrize("missing", PROGRAMS)
def test_nothing_may_be_missing_in_ci(tmp_path, missing):
    installed(tmp_path, *(name for name in PROGRAMS if name != missing))
    assert run(tmp_path, CI="true").returncode == 1
