"""The fitted coefficients: near the tables' own figures, and what the presets are made of."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import pytest

from tokenswarm.engine.core.step_time import Coefficients
from tokenswarm.engine.physics.fitted import FITS
from tokenswarm.engine.physics.presets import PRESETS, fitted

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["together-like", "trtllm-like", "sglang-like"])
def test_a_preset_is_its_software_s_fit_with_speed_factors_and_nothing_else(name):
    preset = PRESETS[name]
    table = fitted(preset.software, preset.gpus).coefficients(preset.speculation.num_drafts)
    assert replace(cast(Coefficients, preset.cost), s_pf=1.0, s_dc=1.0) == table


def test_every_fit_meets_its_tables_within_5_percent_on_average():
    for fit in FITS:
        assert fit.prefill.error.mean < 0.05 and fit.prefill.error.points == 40
        assert all(decode.error.mean < 0.05 for decode in fit.decode)
        assert all(decode.error.largest < 0.20 for decode in fit.decode)


def test_prefill_fits_are_those_of_an_earlier_study():
    """TensorRT-LLM TP4 and SGLang TP8, fitted there by other means over other points."""
    trtllm, sglang = fitted("TensorRT-LLM", 4).prefill, fitted("SGLang", 8).prefill
    for fit, t0_s, a1_s, a2_s in (
        (trtllm, 34.4e-3, 20.3e-6, 4.75e-10),
        (sglang, 20.7e-3, 14.1e-6, 3.4e-10),
    ):
        assert fit.t0_s == pytest.approx(t0_s, rel=0.06)
        assert fit.a1_s == pytest.approx(a1_s, rel=0.04)
        assert fit.a2_s == pytest.approx(a2_s, rel=0.03)


def test_decode_steps_with_three_drafts_are_near_the_tables():
    """The tables at 90k context, batch 1 to 32; they are not points of the fit."""
    decode = next(d for d in fitted("TensorRT-LLM", 4).decode if d.drafts == 3)
    for batch, table_ms in ((1, 13.4), (4, 26.4), (8, 39.7), (16, 63.3), (32, 98.6)):
        step_s = decode.d0_s + decode.d1_s * batch**0.5 + decode.d2_s * batch * 90_000
        assert step_s * 1e3 == pytest.approx(table_ms, rel=0.05)


def test_a_cached_suffix_is_near_the_tables():
    c = fitted("TensorRT-LLM", 4).coefficients(3)
    assert c.step_s(c.prefill_s(8_800, 79_200), 0, 0) * 1e3 == pytest.approx(569, rel=0.02)


def test_the_kv_read_of_a_verification_lies_between_one_read_and_one_per_token():
    fit = fitted("TensorRT-LLM", 4)
    reads = {decode.drafts: decode.d2_s for decode in fit.decode}
    assert reads[0] < fit.coefficients(3).d2_s < reads[3]
    assert fit.coefficients(0).d2_s == pytest.approx(reads[0])


def test_drafts_and_gpus_without_a_table_are_refused():
    with pytest.raises(ValueError, match="drafts 9"):
        fitted("TensorRT-LLM", 4).coefficients(9)
    with pytest.raises(ValueError, match="gpus 2: .* 4 or 8"):
        fitted("SGLang", 2)


@pytest.mark.skipif(find_spec("aiconfigurator_core") is None, reason="needs the extra `fit`")
def test_the_committed_fits_are_what_the_script_makes():
    check = [sys.executable, "scripts/fit_coefficients.py", "--check"]
    run = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_page_shows_the_committed_fits():
    page = (ROOT / "docs/engine.md").read_text(encoding="utf-8")
    for fit in FITS:
        prefill, used = fit.prefill, fit.coefficients(3)
        decode = {decode.drafts: decode for decode in fit.decode}
        cells = (
            f"{fit.software} {fit.version}, {fit.gpus}",
            f"{prefill.t0_s * 1e3:.1f}",
            f"{prefill.a1_s * 1e6:.1f}",
            f"{prefill.a2_s * 1e9:.3f}",
            f"{prefill.error.mean:.1%}",
            f"{decode[3].d0_s * 1e3:.1f}",
            f"{decode[3].d1_s * 1e3:.1f}",
            f"{decode[3].d2_s * 1e9:.1f}",
            f"{decode[3].error.mean:.1%}",
            f"{decode[0].d2_s * 1e9:.1f}",
            f"{used.d2_s * 1e9:.1f}",
        )
        assert f"| {' | '.join(cells)} |" in page
