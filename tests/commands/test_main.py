"""The front door: every command is listed and answers --help; what is unknown is refused."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from tokenswarm.__main__ import COMMANDS, main


def tokenswarm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "tokenswarm", *words), capture_output=True, text=True, timeout=60
    )


def test_help_lists_every_command_with_a_line(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    for name, what in COMMANDS.items():
        assert any(line.split() == [name, *what.split()] for line in lines), name
    assert main([]) == 0 and capsys.readouterr().out == shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_help(name):
    shown = tokenswarm(name, "--help")
    assert shown.returncode == 0, shown.stderr
    assert f"usage: tokenswarm {name}" in shown.stdout
    assert len(shown.stdout.splitlines()) <= 70  # a screen or two


@pytest.mark.parametrize("name", ["agents", "ladder", "capacity"])
def test_run_shows_our_options_with_their_defaults(name):
    shown = tokenswarm("run", name, "--help")
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()) <= 110  # two screens
    assert "--slo TEXT" in shown.stdout and "(default: runs)" in shown.stdout
    assert ("--levels RATES" in shown.stdout) == (name == "ladder")
    assert ("--tpm RATE" in shown.stdout) == (name == "agents")
    assert ("--search-from RATE" in shown.stdout) == (name == "capacity")


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tokenswarm {version('tokenswarm')}\n"


@pytest.mark.parametrize("words", [["rerport"], ["run", "laddder"]])
def test_what_is_unknown_is_refused_with_what_is_accepted(words, capsys):
    assert main(words) == 2
    refusal = capsys.readouterr().err
    assert repr(words[-1]) in refusal and "accepted: " in refusal


def test_bad_input_is_one_line_of_the_command(capsys):
    assert main(["report", "no/such/run"]) == 2
    refusal = capsys.readouterr().err
    assert refusal.startswith("tokenswarm report: ") and refusal.count("\n") == 1
