"""What-ifs: each changes what it names and nothing else."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from typing import cast

import pytest

from tokenswarm.engine.core.step_time import Coefficients
from tokenswarm.engine.physics.hardware import B200
from tokenswarm.engine.physics.kv_pool import Memory, pool_tokens
from tokenswarm.engine.physics.models import KIMI_K2_5
from tokenswarm.engine.physics.presets import PRESETS, fitted
from tokenswarm.engine.physics.what_if import WhatIf

TRTLLM = PRESETS["trtllm-like"]
COST = cast(Coefficients, TRTLLM.cost)


def changed_fields(what_if: WhatIf) -> set[str]:
    changed = what_if.apply(TRTLLM)
    names = (field.name for field in fields(TRTLLM))
    return {name for name in names if getattr(changed, name) != getattr(TRTLLM, name)}


def test_no_change_is_the_same_preset():
    assert all(WhatIf().apply(preset) == preset for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("what_if", "names"),
    [
        (WhatIf(prefill_speed=1.1), {"cost"}),
        (WhatIf(decode_attention_speed=1.35), {"cost"}),
        (WhatIf(acceptance=0.8), {"speculation"}),
        (WhatIf(drafts=5), {"cost", "speculation"}),
        (WhatIf(kv_tokens=1_000_000), {"kv_tokens"}),
        (WhatIf(chunk_tokens=2048), {"policy"}),
        (WhatIf(gpus=8), {"gpus", "cost", "kv_tokens"}),
        (WhatIf(gpus=8, kv_tokens=TRTLLM.kv_tokens), {"gpus", "cost"}),
        (WhatIf(attention="data_parallel"), {"memory", "kv_tokens"}),
        (WhatIf(prefix_cache=False), {"prefix_cache"}),
        (WhatIf(host_kv_tokens=9_000_000), {"host"}),
    ],
)
def test_a_change_touches_what_it_names(what_if, names):
    assert changed_fields(what_if) == names


def test_a_faster_decode_kernel_shortens_the_kv_term_alone():
    before, after = TRTLLM.cost, WhatIf(decode_attention_speed=1.35).apply(TRTLLM).cost
    assert after.step_s(0.0, 24, 0) == before.step_s(0.0, 24, 0)
    assert after.prefill_s(1000, 9000) == before.prefill_s(1000, 9000)
    kv_s = before.step_s(0.0, 24, 2_000_000) - before.step_s(0.0, 24, 0)
    faster_s = after.step_s(0.0, 24, 2_000_000) - after.step_s(0.0, 24, 0)
    assert faster_s == pytest.approx(kv_s / 1.35)


def test_faster_prefill_attention_leaves_the_linear_layers():
    before, after = COST, WhatIf(prefill_attention_speed=2.0).apply(TRTLLM).cost
    assert after == replace(before, a2_s=before.a2_s / 2)


def test_eight_gpus_take_their_own_tables_and_keep_the_speed_factors():
    changed = WhatIf(gpus=8).apply(TRTLLM)
    table = fitted("TensorRT-LLM", 8).coefficients(3)
    assert changed.cost == replace(table, s_pf=COST.s_pf, s_dc=COST.s_dc)
    memory = Memory(attention="tensor_parallel")
    assert changed.kv_tokens == pool_tokens(KIMI_K2_5, B200, 8, memory)
    assert WhatIf(gpus=4).apply(changed) == TRTLLM


def test_data_parallel_ranks_are_as_many_as_the_gpus():
    four = WhatIf(gpus=4).apply(PRESETS["sglang-like"])
    assert (four.policy.ranks, PRESETS["sglang-like"].policy.ranks) == (4, 8)
    assert WhatIf(gpus=8).apply(four) == PRESETS["sglang-like"]


def test_the_roofline_grows_with_its_gpus_and_has_no_faster_kernels():
    roofline = PRESETS["roofline"]
    eight = WhatIf(gpus=8).apply(roofline)
    assert eight.cost.prefill_s(8_192, 80_000) * 2 == roofline.cost.prefill_s(8_192, 80_000)
    assert eight.kv_tokens > 2 * roofline.kv_tokens
    for impossible in (WhatIf(decode_attention_speed=1.35), WhatIf(attention="tensor_parallel")):
        with pytest.raises(ValueError, match="roofline|limit"):
            impossible.apply(roofline)


def test_the_limit_of_eight_h200_is_lower_and_four_cannot_hold_the_weights():
    roofline = PRESETS["roofline"]
    b200, h200 = (WhatIf(gpu=gpu, gpus=8).apply(roofline) for gpu in ("B200", "H200"))
    assert h200.cost.step_s(0.0, 8, 700_000) > b200.cost.step_s(0.0, 8, 700_000)
    assert h200.kv_tokens < b200.kv_tokens
    with pytest.raises(ValueError, match="4 x H200"):
        WhatIf(gpu="H200").apply(roofline)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gpus": 6}, "gpus 6: .* 4 or 8"),
        ({"gpu": "H200"}, "gpu H200: .* B200 only"),
        ({"gpu": "A100"}, "gpu A100: accepted are B200"),
        ({"drafts": 9}, "drafts 9"),
        ({"acceptance": 1.5}, "acceptance 1.5"),
        ({"kv_tokens": 0}, "kv_tokens 0: accepted are 1024 or more"),
        ({"host_kv_tokens": 63}, "host_kv_tokens 63: accepted are 0, or 64 or more"),
        ({"meaning": "of_drafted"}, "meaning of_drafted: give the acceptance"),
        ({"acceptance": 0.8, "drafts": 0}, "acceptance 0.8: there is none with 0 drafts"),
        ({"host_kv_tokens": -1}, "host_kv_tokens -1"),
        ({"decode_attention_speed": -1.0}, "decode_attention_speed -1.0"),
    ],
)
def test_impossible_changes_are_named(change, named):
    with pytest.raises(ValueError, match=named):
        WhatIf(**change).apply(TRTLLM)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_travels_to_another_process(preset):
    assert pickle.loads(pickle.dumps(preset)) == preset
