"""Both meanings of an acceptance figure, and the tokens per step that follow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.core.speculation import Speculation, TokenDraws
from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.engine.physics.what_if import WhatIf


def test_70_percent_per_position_is_2_533_tokens_per_step():
    speculation = Speculation.of(0.7, drafts=3, meaning="per_position")
    assert speculation.acceptance == (0.7, 0.7, 0.7)
    assert speculation.mean_tokens == pytest.approx(2.533)


def test_70_percent_of_the_drafted_tokens_is_3_1_tokens_per_step():
    speculation = Speculation.of(0.7, drafts=3, meaning="of_drafted")
    assert speculation.mean_tokens == pytest.approx(3.1)
    assert speculation.acceptance[0] == pytest.approx(0.832, abs=5e-4)
    drawn = TokenDraws(speculation, seed=1).take(200_000)
    # sd of the mean: 1.2 / sqrt(200,000) = 0.003
    assert sum(drawn) / len(drawn) == pytest.approx(3.1, abs=0.012)


def test_the_engine_counts_accepted_of_drafted_as_it_was_told():
    preset = WhatIf(acceptance=0.7, meaning="of_drafted").apply(PRESETS["trtllm-like"])
    engine = preset.engine(seed=3)
    engine.submit(Sequence(id=0, prompt_tokens=100, output_tokens=100_000), 0.0)
    now_s = 0.0
    while (start_s := engine.next_time(now_s)) is not None:
        now_s, _ = engine.step(start_s)
    share = engine.counters.accepted_tokens / engine.counters.draft_tokens
    assert share == pytest.approx(0.7, abs=0.01)  # sd 0.002


@given(st.floats(0, 1), st.integers(1, 6))
def test_the_second_meaning_never_yields_less(acceptance, drafts):
    per_position, of_drafted = (
        Speculation.of(acceptance, drafts=drafts, meaning=meaning)
        for meaning in ("per_position", "of_drafted")
    )
    assert of_drafted.mean_tokens == pytest.approx(1 + drafts * acceptance)
    assert per_position.mean_tokens <= of_drafted.mean_tokens + 1e-9


@pytest.mark.parametrize(
    ("acceptance", "drafts", "meaning", "named"),
    [
        (1.2, 3, "per_position", "acceptance 1.2"),
        (float("nan"), 3, "of_drafted", "acceptance nan"),
        (0.7, 0, "per_position", "drafts 0"),
        (0.7, 3, "vibes", "meaning 'vibes'"),
    ],
)
def test_bad_figures_are_named(acceptance, drafts, meaning, named):
    with pytest.raises(ValueError, match=named):
        Speculation.of(acceptance, drafts=drafts, meaning=meaning)
