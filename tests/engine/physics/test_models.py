"""Sizes of Kimi K2.5 against the figures published for it."""

from __future__ import annotations

import pytest

from tokenswarm.engine.physics.hardware import B200, GPUS, H200
from tokenswarm.engine.physics.models import FOUR_BIT_BYTES, KIMI_K2_5

GIGA, PETA = 1e9, 1e15


def prefill_flop(num_new: int, num_before: int) -> float:
    pairs = num_new * (num_before + num_new / 2)
    return num_new * KIMI_K2_5.linear_flop + pairs * KIMI_K2_5.prefill_pair_flop


def test_parameters_are_the_published_one_trillion_of_which_32_billion_are_active():
    assert KIMI_K2_5.parameters == pytest.approx(1026 * GIGA, abs=0.5 * GIGA)
    # 31.5 without the router's 0.17
    assert KIMI_K2_5.active_parameters == pytest.approx(31.5 * GIGA, abs=0.2 * GIGA)


def test_weights_are_594_gb_in_the_int4_checkpoint_and_a_little_less_in_nvfp4():
    assert KIMI_K2_5.weights_bytes() == pytest.approx(594 * GIGA, abs=0.5 * GIGA)
    nvfp4 = KIMI_K2_5.weights_bytes(FOUR_BIT_BYTES)
    assert 588 * GIGA < nvfp4 < KIMI_K2_5.weights_bytes()


def test_kv_bytes_per_token():
    assert (KIMI_K2_5.kv_bytes(1), KIMI_K2_5.kv_bytes(2)) == (35_136, 70_272)


@pytest.mark.parametrize(
    ("num_new", "num_before", "expected"),
    [(88_000, 0, 15.2), (8_800, 79_200, 2.39), (200_000, 0, 62.6)],
)
def test_prefill_work(num_new, num_before, expected):
    assert prefill_flop(num_new, num_before) / PETA == pytest.approx(expected, rel=0.005)


def test_a_gpu_without_narrow_units_computes_in_the_next_wider_ones():
    assert B200.peak_flop_per_s("fp4") == 2 * B200.peak_flop_per_s("fp8") == 9e15
    assert H200.peak_flop_per_s("fp4") == H200.peak_flop_per_s("fp8") == 1.979e15
    assert set(GPUS) == {"B200", "H100", "H200"}
