"""Fit: a profile's own sessions give its laws back; what a trace says and a law cannot is named."""

from __future__ import annotations

import tomllib
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.support.agent_logs import CLAUDE, SENTINEL
from tests.support.traces import SAMPLE, line, needs_sample, traced, written
from tokenswarm.__main__ import main
from workload import fidelity
from workload.fit import FitError, fit
from workload.profiles import AGENTIC, load_profile
from workload.traces.read import read_trace


def recorded(folder: Path, sessions: int) -> Path:
    """Sessions of profile agentic as a trace, with a service of 5 s a turn."""
    lines = []
    for n, session in enumerate(islice(fidelity.fresh_sessions(AGENTIC), sessions)):
        at_s, before = 0.0, 0
        for turn in iter(session.next_turn, None):
            at_s += turn.gap_s if before else 0.0
            kind = "user" if turn.kind == "user" else "tool"
            lines.append(
                line(
                    f"s{n}",
                    at_s,
                    turn.prompt_tokens,
                    turn.output_tokens,
                    service_s=5.0,
                    kept_tokens=before,
                    kind=kind,
                )
            )
            at_s, before = at_s + 5.0, turn.prompt_tokens
    return written(folder / "agentic.jsonl", lines)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return recorded(tmp_path_factory.mktemp("trace"), 400)


def test_a_profile_s_own_laws_come_back(path):
    fitted = fit(read_trace(path), "again").profile
    assert fitted.growth_tokens.median == pytest.approx(300, rel=0.1)
    assert fitted.growth_tokens.sigma == pytest.approx(1.755, rel=0.1)
    assert fitted.tool_share == pytest.approx(0.87, abs=0.02)
    assert fitted.human_gap_s.median == pytest.approx(84, rel=0.2)
    for share in (0.1, 0.5, 0.9, 0.99):
        assert fitted.output_tokens.quantile(share) == pytest.approx(
            AGENTIC.output_tokens.quantile(share), rel=0.1
        )
    mine = fidelity.simulate(fitted, 1_000, seed=1)
    theirs = fidelity.simulate(AGENTIC, 1_000, seed=1)
    assert mine.prompt_tokens.mean() == pytest.approx(theirs.prompt_tokens.mean(), rel=0.1)
    assert np.mean(mine.session_turns) == pytest.approx(np.mean(theirs.session_turns), rel=0.15)


def test_the_file_is_the_profile(path, tmp_path):
    fitted = fit(read_trace(path), "our-team")
    file = tmp_path / "our-team.toml"
    file.write_text(fitted.toml())
    assert load_profile(str(file)) == fitted.profile
    assert tomllib.loads(fitted.toml())["base"] == "agentic"


def test_what_the_laws_cannot_say_is_named(tmp_path):
    trace = traced(
        tmp_path,
        line("a", 0, 10_000),
        line("a", 10, 12_000, kept_tokens=4_000),
        line("a.1", 15, 500, parent="a"),
        line("a", 60, 12_050, kept_tokens=12_000),
        line("a", 70, 6_000, kept_tokens=3_000),
    )
    assert fit(trace, "x").left_out == (
        "1 turns that grew but kept less than the prompt before them",
        "1 turns that kept less of the last reply than it was long",
        "1 compactions, too few or too wide for a law",
        "1 sub-agents",
    )


def test_a_trace_of_single_turns_has_no_laws(tmp_path):
    with pytest.raises(FitError, match="0 turns after a first; accepted: 2 or more"):
        fit(traced(tmp_path, line("a", 0, 100), line("b", 0, 100)), "x")


def test_the_command_prints_how_well_and_keeps_no_text(tmp_path, capsys):
    log = written(tmp_path / "s.jsonl", CLAUDE)
    out = tmp_path / "mine.toml"
    assert main(["fit", str(log), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "s.jsonl (claude-code): 1 sessions, 4 turns; numbers only" in printed
    assert "not in the profile: 1 sub-agents" in printed
    assert load_profile(str(out)).name == "mine"
    assert SENTINEL not in printed + out.read_text()


@pytest.mark.parametrize(
    ("logs", "out", "said"),
    [
        ("nowhere", "x.toml", "nowhere: not there; accepted: a file or folder of weka"),
        ("s.jsonl", "x.txt", "accepted is a .toml file in a folder that exists"),
        ("s.jsonl", "no/x.toml", "accepted is a .toml file in a folder that exists"),
    ],
)
def test_bad_input_is_named(tmp_path, capsys, logs, out, said):
    written(tmp_path / "s.jsonl", CLAUDE)
    assert main(["fit", str(tmp_path / logs), "--out", str(tmp_path / out)]) == 2
    assert said in capsys.readouterr().err


@needs_sample
def test_the_sample_can_be_fitted():
    fitted = fit(read_trace(SAMPLE), "sample")
    sample = fidelity.simulate(fitted.profile, 1_000, seed=1, scripted=True)
    recorded_outputs = [t.output_tokens for t in read_trace(SAMPLE).turns()]
    assert np.median(sample.output_tokens) == pytest.approx(np.median(recorded_outputs), rel=0.1)
    assert "6 sub-agents" in fitted.left_out
