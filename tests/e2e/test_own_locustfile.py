"""A locustfile of one's own: docs/examples, run from a folder with files named like our rooms."""

from __future__ import annotations

import os
import re
from pathlib import Path

import orjson
import pytest

from tests.support.recording_server import recording_server
from tests.support.stack import ROOT, Finished, Stack
from tokenswarm.measure.ledger import Ledger, read_run

ROOMS = ("client", "measure", "report", "engine", "shell", "commands")
EXAMPLE = ROOT / "docs" / "examples" / "my_locustfile.py"
SHAPE = """
from tokenswarm import CodingDeveloper, RateShape

class Developer(CodingDeveloper):
    pass

class TwoRates(RateShape):
    abstract = False

    def begin(self, run):
        self.began_at_s = run.clock.now_s()

    def drive(self, run):
        elapsed_s = run.clock.now_s() - self.began_at_s
        self.levels.begin(tpm=200_000 if elapsed_s < 60 else 400_000)
        return elapsed_s < 120
"""


def run(stack: Stack, folder: Path, text: str, *options: str) -> tuple[Finished, Ledger]:
    """From the folder itself, by the options of a locust.conf in it."""
    for room in ROOMS:
        (folder / f"{room}.py").write_text("raise SystemExit('the user's own file was imported')")
    (folder / "mine.py").write_text(text)
    (folder / "locust.conf").write_text("locustfile = mine.py\nheadless = true\nruns = here\n")
    env = {"PYTHONPATH": os.fspath(ROOT)}
    started = stack.start("locust", "--run-name", "own", *options, env=env, cwd=folder)
    return started.wait(), read_run(folder / "here" / "own")


@pytest.fixture
def url(stack: Stack) -> str:
    return stack.engine("--speed", "20")


def test_the_example_counts_developers_and_leaves_other_users_alone(
    stack: Stack, tmp_path: Path, url: str
) -> None:
    text = EXAMPLE.read_text().replace('self.client.get("/")', 'self.client.get("/health")')
    text = re.sub(r'"http://127.0.0.1:\d+"', f'"{url}"', text)
    finished, ledger = run(stack, tmp_path, text, "-u", "8", "-r", "8", "-t", "12s")
    assert finished.ran, finished.printed
    # Six developers beside two visitors: a level is the developers' number.
    assert [level.developers for level in ledger.levels] == [6]
    assert {record.outcome for record in ledger.records} == {"ok"}
    developers = {record.session.split(".")[1] for record in ledger.records}
    assert 1 < len(developers) <= 6
    assert ledger.header.target.url == f"{url}/v1"


def test_a_shape_of_ones_own_drives_levels(stack: Stack, tmp_path: Path, url: str) -> None:
    finished, ledger = run(stack, tmp_path, SHAPE, "--host", url, "--max-developers", "40")
    assert finished.ran, finished.printed
    assert [level.target_tpm for level in ledger.levels] == [200_000, 400_000]


def test_two_targets_in_one_run_are_refused(stack: Stack, tmp_path: Path) -> None:
    text = """
from tokenswarm import CodingDeveloper
class A(CodingDeveloper):
    host = "http://127.0.0.1:1"
class B(CodingDeveloper):
    host = "http://127.0.0.1:2"
"""
    (tmp_path / "mine.py").write_text(text)
    env = {"PYTHONPATH": os.fspath(ROOT)}
    refused = stack.start("locust", "-f", "mine.py", "--headless", env=env, cwd=tmp_path).wait()
    assert refused.code == 2
    assert "host of the user classes: http://127.0.0.1:1, http://127.0.0.1:2" in refused.err


def test_an_agent_of_the_classes_is_on_the_wire_and_in_the_fingerprint(
    stack: Stack, tmp_path: Path
) -> None:
    text = """
from tokenswarm import CodingDeveloper
class Developer(CodingDeveloper):
    agent = "opencode"
"""
    (tmp_path / "agents.toml").write_text(
        'base = "seed"\nsubagents = {session_share = 1.0, group_weights = [1.0]}\n'
        "tool_gap_s = {median = 0.01}\nhuman_gap_s = {median = 0.01}\n"
    )
    options = ("--profile", "agents.toml", "-u", "2", "-r", "2", "-t", "4s")
    with recording_server() as server:
        finished, ledger = run(stack, tmp_path, text, "--host", server.url, *options)
    assert finished.ran, finished.printed
    assert (ledger.header.fingerprint.agent, ledger.header.fingerprint.api) == ("opencode", "chat")
    heads = server.heads
    assert {head["user-agent"].split("/")[0] for head in heads} == {"opencode"}
    for head, body in zip(heads, server.bodies, strict=True):
        assert head["x-session-id"] == head["x-session-affinity"]
        assert orjson.loads(body)["tool_choice"] == "auto"
    children = [head for head in heads if "x-parent-session-id" in head]
    assert children
    for head in children:
        assert re.fullmatch(
            re.escape(head["x-parent-session-id"]) + r"\.a\d+", head["x-session-id"]
        )


def test_two_agents_in_one_run_are_refused(stack: Stack, tmp_path: Path) -> None:
    text = """
from tokenswarm import CodingDeveloper
class A(CodingDeveloper):
    agent = "codex"
class B(CodingDeveloper):
    agent = "opencode"
"""
    (tmp_path / "mine.py").write_text(text)
    options = ("-f", "mine.py", "--headless", "--host", "http://127.0.0.1:1")
    env = {"PYTHONPATH": os.fspath(ROOT)}
    finished = stack.start("locust", *options, env=env, cwd=tmp_path).wait()
    assert finished.code == 2
    assert "agent of the user classes: codex, opencode; accepted: one, or --agent" in (
        finished.printed
    )
