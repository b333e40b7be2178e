"""Prompts as long as their text, and as planned: how far apart, and what else differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from tokenswarm.engine.offline.run import Load, SimulatedRun, run
from tokenswarm.engine.physics.presets import PRESETS
from workload.profiles import PROFILES, SEED

PRESET = PRESETS["trtllm-like"]
LOAD = Load(levels_tpm=(1.5e6,), hold_s=600.0, text=True)
# Half the longest unit of text: 400 characters, at two to the token where it is all punctuation.
MOST_TOKENS = 100


@pytest.fixture(autouse=True)
def _cache(corpus_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENSWARM_CACHE", str(corpus_cache))


def sizes(simulated: SimulatedRun) -> dict[tuple[str, int], int]:
    return {(turn.session, turn.turn): turn.prompt_tokens for turn in simulated.turns}


@pytest.mark.parametrize("name", ["seed", "agentic"])
def test_text_meets_the_plan_to_half_a_line_on_either_side(name: str) -> None:
    profile = PROFILES[name]
    planned = sizes(run(PRESET, profile, replace(LOAD, text=False), 1))
    text = sizes(run(PRESET, profile, LOAD, 1))
    off = [text[turn] - planned[turn] for turn in planned if turn in text]
    assert len(off) > 50
    assert 0 < max(map(abs, off)) <= MOST_TOKENS
    assert abs(fmean(off)) < 3  # neither longer nor shorter as a whole


def test_a_cache_holds_whole_blocks_before_the_opened_reply() -> None:
    """As the server counts: 3 tokens of a prompt are not of what the next one repeats."""
    turns = run(PRESET, SEED, LOAD, 1).turns
    last: dict[str, int] = {}
    hits = 0
    for turn in turns:
        before = last.get(turn.session)
        if before is not None and turn.kind in ("tool", "user") and turn.cached_tokens:
            assert turn.cached_tokens <= (before - 3) // 64 * 64
            hits += turn.cached_tokens == (before - 3) // 64 * 64
        last[turn.session] = turn.prompt_tokens
    assert hits > 50


def test_text_is_that_of_scripted_histories() -> None:
    with pytest.raises(ValueError, match="scripted"):
        replace(LOAD, history="echo")
