"""The derived KV pool against AIConfigurator's estimates for the same machines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tokenswarm.engine.physics.hardware import B200, H100, H200
from tokenswarm.engine.physics.kv_pool import Memory, NoRoom, most_tokens, pool_tokens
from tokenswarm.engine.physics.models import KIMI_K2_5

# The estimator counts the one dense layer as a 61st layer of experts: 9 GB more in all.
AS_ESTIMATED = replace(KIMI_K2_5, num_dense_layers=0)
SGLANG_RESERVE_BYTES = 13.16e9  # its activations 8.24, runtime 4.51, communication 0.41


@pytest.mark.parametrize(
    ("gpus", "fraction_of", "reserve_bytes", "expected"),
    [
        (4, "free", 10.98e9, 745_528),  # TensorRT-LLM
        (8, "free", 10.98e9, 2_649_419),
        (4, "total", SGLANG_RESERVE_BYTES, 216_289),  # SGLang
        (8, "total", SGLANG_RESERVE_BYTES, 2_331_724),
        (4, "total", 10.98e9, 278_292),  # vLLM
    ],
)
def test_tensor_parallel_pools_are_the_estimators(gpus, fraction_of, reserve_bytes, expected):
    """aiconfigurator-core 0.12.0 estimate_kv_cache, B200, fp8 KV, no draft model, fraction 0.9."""
    memory = Memory(
        attention="tensor_parallel",
        fraction_of=fraction_of,
        reserve_bytes=reserve_bytes,
        draft_bytes=0,
    )
    assert pool_tokens(AS_ESTIMATED, B200, gpus, memory) == pytest.approx(expected, rel=0.01)


def test_bf16_halves_the_pool():
    fp8 = Memory(attention="tensor_parallel")
    bf16 = replace(fp8, kv_element_bytes=2.0)
    assert pool_tokens(KIMI_K2_5, B200, 4, bf16) == pool_tokens(KIMI_K2_5, B200, 4, fp8) // 2


def test_four_gpus_tensor_parallel_hold_about_eight_contexts_of_88k():
    pool = pool_tokens(KIMI_K2_5, B200, 4, Memory(attention="tensor_parallel"))
    assert 7 < pool / 88_000 < 9


def test_data_parallel_attention_adds_up_the_ranks_less_its_copied_weights():
    """4 copies of 12.3 GB of attention weights cost less than 4 copies of the latents."""
    shared = pool_tokens(KIMI_K2_5, B200, 4, Memory(attention="tensor_parallel"))
    sharded = pool_tokens(KIMI_K2_5, B200, 4, Memory(attention="data_parallel"))
    assert 2.5 * shared < sharded < 4 * shared
    assert sharded < most_tokens(KIMI_K2_5, B200, 4)


def test_what_does_not_fit_says_so():
    memory = Memory(attention="tensor_parallel")
    with pytest.raises(NoRoom, match="8 x H100"):
        pool_tokens(KIMI_K2_5, H100, 8, memory)
    with pytest.raises(NoRoom, match="2 x B200"):
        most_tokens(KIMI_K2_5, B200, 2)
    assert pool_tokens(KIMI_K2_5, H200, 8, memory) > 1_000_000
