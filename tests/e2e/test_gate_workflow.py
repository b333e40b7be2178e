"""The example workflow, step by step as GitHub runs it, in an empty folder: its shell, its
environment, the package installed from here, the embedded engine as the endpoint."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest
import yaml

from tests.support.stack import ROOT, Stack, free_port
from tokenswarm.measure.ledger import read_run

pytestmark = pytest.mark.slow

WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "examples" / "gate.yml").read_text())
STEPS = {step["name"]: step for step in WORKFLOW["jobs"]["gate"]["steps"] if "run" in step}
DRIVEN = ("--clock", "driven", "--preset", "together-like")
# 8 minutes of the engine: 45 turns, of which a p50 may be claimed.
QUICK = {"LEVELS": "500k", "HOLD": "8m", "LIMITS": "ttft_p50=10%"}
MET, MISSED = "ttft_p50<5s failures<5%", "ttft_p50<1ms"
REFUSED = 2


@dataclass(frozen=True)
class Done:
    code: int
    printed: str
    summary: str  # what GitHub shows on the page of the run


class Runner:
    """A runner's folder; each step is a bash of its own there, as GitHub starts it."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        site = folder / "site"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TOKENSWARM", "LOCUST"))}
        self._env = kept | {
            "PATH": f"{site / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(site),
            "TOKENSWARM_CACHE": str(cache),
            # Installed from here, without a network (pip reads "0" as: no isolation), and not into
            # the tests' environment.
            **{"PIP_TARGET": str(site), "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"},
        }

    def step(self, name: str, **changes: str) -> Done:
        step = STEPS[name]
        summary = self.folder / "step-summary"
        summary.write_text("")
        given = WORKFLOW["env"] | step.get("env", {}) | {"TOKENSWARM": str(self._source)} | changes
        assert not re.search(r"\$\{\{", step["run"]), "an expression that only GitHub fills in"
        done = subprocess.run(
            ("bash", "-e", "-c", step["run"]),
            cwd=self.folder,
            env=self._env | given | {"GITHUB_STEP_SUMMARY": str(summary)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        return Done(done.returncode, done.stdout + done.stderr, html.unescape(summary.read_text()))

    @property
    def _source(self) -> Path:
        """A clean copy: pip builds in the tree that it is given."""
        source = self.folder / "source"
        if not source.exists():
            listed = subprocess.run(
                ("git", "ls-files", "-co", "--exclude-standard"),
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            for name in listed.stdout.splitlines():
                if (ROOT / name).is_file():
                    (source / name).parent.mkdir(parents=True, exist_ok=True)
                    (source / name).write_bytes((ROOT / name).read_bytes())
        return source


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, corpus_cache: Path) -> Runner:
    runner = Runner(tmp_path_factory.mktemp("runner"), corpus_cache)
    installed = runner.step("Install")
    assert installed.code == 0, installed.printed
    return runner


@pytest.fixture(scope="module")
def first(runner: Runner, stack: Stack) -> Done:
    url = stack.engine(*DRIVEN)
    return runner.step("Gate", ENDPOINT=url, SLOS=MET, **QUICK)


def test_the_first_run_is_gated_and_told(runner: Runner, first: Done) -> None:
    assert first.code == 0, first.printed
    assert "Exit code 0." in first.summary
    for said in ("TTFT p50 < 5 s", "failures < 5%", "SIMULATED"):
        assert said in first.summary, first.summary
    folder = runner.folder / "runs" / "now"
    assert len(read_run(folder).records) > 20
    assert (folder / "report.html").stat().st_size > 10_000
    assert xml.parse(runner.folder / "junit.xml").getroot().tag == "testsuite"
    assert "runs/now" in WORKFLOW["jobs"]["gate"]["steps"][-3]["with"]["path"]


def test_a_change_is_held_against_the_main_branch_and_a_miss_is_told(
    runner: Runner, first: Done, stack: Stack
) -> None:
    assert runner.step("Becomes the baseline").code == 0
    assert not (runner.folder / "runs" / "now").exists()
    url = stack.engine(*DRIVEN)
    done = runner.step("Gate", ENDPOINT=url, SLOS=MISSED, **QUICK)
    assert done.code == 1, done.printed
    assert "baseline" in done.summary.lower() and "TTFT p50 < 0.001 s" in done.summary
    assert "Exit code 1." in done.summary


def test_an_endpoint_that_is_not_there_fails_the_gate_and_says_so(runner: Runner) -> None:
    (runner.folder / "runs" / "now").rename(runner.folder / "runs" / "second")
    done = runner.step("Gate", ENDPOINT=f"http://127.0.0.1:{free_port()}/v1", SLOS=MET, **QUICK)
    assert done.code == REFUSED, done.printed
    assert "Exit code 2." in done.summary


def test_every_step_that_is_no_shell_is_a_pinned_action() -> None:
    used = [step["uses"] for step in WORKFLOW["jobs"]["gate"]["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w/-]+@v\d+", action) for action in used)
    upload = next(s for s in WORKFLOW["jobs"]["gate"]["steps"] if "upload" in s.get("uses", ""))
    assert upload["if"] == "always()"
