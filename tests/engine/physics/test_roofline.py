"""The hardware's limit: closed forms, and faster than every fitted engine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.physics.hardware import B200, GPUS
from tokenswarm.engine.physics.models import KIMI_K2_5
from tokenswarm.engine.physics.presets import PRESETS, fitted
from tokenswarm.engine.physics.roofline import Roofline

LIMIT = Roofline(model=KIMI_K2_5, gpu=B200, gpus=4, drafts=3)


@pytest.mark.parametrize(
    ("num_new", "num_before", "expected_ms"),
    [(88_000, 0, 1_229), (8_800, 79_200, 220), (200_000, 0, 5_903)],
)
def test_prefill_is_the_ideal_of_fp4_linear_layers_and_bf16_attention(
    num_new, num_before, expected_ms
):
    bf16 = replace(LIMIT, attention_precision="bf16")
    assert bf16.prefill_s(num_new, num_before) * 1e3 == pytest.approx(expected_ms, rel=0.01)


def test_verification_of_replicated_kv_grows_as_estimated_before():
    """An earlier estimate at 80 % of the bandwidth, 90k contexts: 4.7 ms at batch 1.

    It lies a constant 1.6 ms above: communication and launches, which a limit leaves out.
    """
    replicated = replace(LIMIT, attention="tensor_parallel", efficiency=0.8)
    ours_ms = [replicated.step_s(0.0, b, b * 90_000) * 1e3 for b in (1, 4, 8, 16, 32)]
    for ours, theirs in zip(ours_ms, (4.7, 11.0, 17.8, 27.7, 40.3), strict=True):
        assert theirs - ours == pytest.approx(1.63, abs=0.05)


def test_a_step_reads_only_the_experts_that_its_tokens_touch():
    """One token without drafts: 8 of 384 experts, everything else, and its KV."""
    single = replace(LIMIT, drafts=0)
    chosen = 60 * 8 * 3 * 7168 * 2048 * 0.5625
    rest = 2 * (6.168e9 + 0.165e9 + 1.174e9) + 0.5625 * 3.039e9
    expected_s = (chosen + rest + 90_000 * 35_136) / (4 * 7.7e12)
    assert single.step_s(0.0, 1, 90_000) == pytest.approx(expected_s, rel=1e-3)


def test_hundreds_of_decoding_sequences_are_bound_by_compute_not_memory():
    """Four verified tokens per cached one: more operations per byte than the balance point."""
    compute_s = 400 * (90_000 * 4 * LIMIT.terms.decode_pair_s + 4 * LIMIT.terms.linear_s)
    assert LIMIT.step_s(0.0, 400, 400 * 90_000) == pytest.approx(compute_s, rel=1e-9)
    single = replace(LIMIT, drafts=0)
    assert single.step_s(0.0, 400, 400 * 90_000) > 400 * 90_000 * LIMIT.terms.kv_read_s


def test_a_long_prefill_is_compute_bound_and_a_short_one_pays_for_the_weights():
    long_s = LIMIT.prefill_s(8_192, 80_000)
    assert LIMIT.step_s(long_s, 0, 0) == long_s
    short_s = LIMIT.prefill_s(512, 0)
    assert LIMIT.step_s(short_s, 0, 0) > 5 * short_s


@given(
    st.sampled_from(["together-like", "trtllm-like", "sglang-like"]),
    st.integers(0, 8_192),
    st.integers(0, 200_000),
    st.integers(0, 64),
    st.integers(16, 200_000),
)
def test_no_fitted_engine_is_faster_than_its_hardware(name, num_new, num_before, num, context):
    preset = PRESETS[name]
    limit = replace(LIMIT, gpus=preset.gpus)
    if not num_new and not num:
        return
    ours, bound = (
        cost.step_s(cost.prefill_s(num_new, num_before), num, num * context)
        for cost in (preset.cost, limit)
    )
    assert bound < ours


@pytest.mark.parametrize("gpus", [4, 8])
def test_the_tables_themselves_are_slower_too(gpus):
    for software in ("TensorRT-LLM", "SGLang"):
        tables = fitted(software, gpus).coefficients(3)
        limit = replace(LIMIT, gpus=gpus)
        assert limit.step_s(0.0, 24, 24 * 88_000) < tables.step_s(0.0, 24, 24 * 88_000)


def test_slower_gpus_take_longer():
    by_name = {name: replace(LIMIT, gpu=gpu).step_s(0.0, 8, 700_000) for name, gpu in GPUS.items()}
    assert by_name["B200"] < by_name["H200"] < by_name["H100"]


def test_batch_1_ttft_of_the_preset_is_its_steps():
    preset = PRESETS["roofline"]
    cost, chunk = preset.cost, preset.policy.chunk_tokens
    expected_s, done = 0.0, 0
    while done < 45_000:
        n = min(chunk, 45_000 - done)
        expected_s += cost.step_s(cost.prefill_s(n, done), 0, 0)
        done += n
    engine = preset.engine(seed=0)
    sequence = Sequence(id=0, prompt_tokens=45_000, output_tokens=1)
    engine.submit(sequence, 5.0)
    now_s = 0.0
    while (start_s := engine.next_time(now_s)) is not None:
        now_s, _ = engine.step(start_s)
    assert sequence.first_token_at_s == pytest.approx(5.0 + expected_s, rel=1e-9)
