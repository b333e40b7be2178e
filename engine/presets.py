"""Presets of the embedded engine: illustrative fits, simulated, never measurements.

Each preset combines step-time coefficients fitted to NVIDIA AIConfigurator 0.12.0's operator
tables (Kimi K2.5 on B200, fp8 KV) with speed factors fitted to the p50 TTFT that a published
study reports at 2.5M input TPM. They say what an engine *like* the named one would do under this
model; they are not measurements of TensorRT-LLM, SGLang or the Together Inference Engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.core import Engine
from engine.cost import Coefficients, Cost
from engine.scheduler import Policy
from engine.speculation import Speculation

# AIConfigurator 0.12.0, TensorRT-LLM 1.3.0rc20 tables, TP4, fp8 KV: prefill error 2.8 %, decode
# (3 drafts) 1.7 %. d2 is a guess between the fits with (2.35e-8) and without drafts (6.6e-9),
# because the tables charge one KV read per verified token.
TRTLLM_TP4 = Coefficients(
    t0_s=34.4e-3, a1_s=20.3e-6, a2_s=4.75e-10, d0_s=4.8e-3, d1_s=6.5e-3, d2_s=1.2e-8
)
# The same source, SGLang 0.5.14 tables, TP8, fp8 KV: prefill error 3.3 %, decode 1.4 %.
SGLANG_TP8 = Coefficients(
    t0_s=20.7e-3, a1_s=14.06e-6, a2_s=3.4e-10, d0_s=3.5e-3, d1_s=3.0e-3, d2_s=1.2e-8
)
# The study: EAGLE with 3 drafts, acceptance about 70 %. Read as the chance per position (2.533
# tokens per step); read as accepted/drafted it would be 3.1 tokens per step (0.832 per position).
EAGLE3 = Speculation.of(0.7, drafts=3, meaning="per_position")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything that makes one simulated engine.

    tables: the coefficients of the same software by number of GPUs, where measured tables exist.
    """

    name: str
    gpus: int
    cost: Cost
    tables: Mapping[int, Coefficients] = field(default_factory=dict)
    policy: Policy = Policy()
    speculation: Speculation = EAGLE3
    kv_tokens: int = 3_000_000  # guess: above TP4's own 745k, stands for DP attention or a tier
    prefix_cache: bool = True
    ttft_fixed_s: float = 0.080  # guess: network, tokenising, templating

    @property
    def engine_name(self) -> str:
        return f"sim:{self.name}"

    def on_gpus(self, gpus: int) -> Preset:
        """The preset with the tables of that many GPUs, its fitted speed factors kept: estimated.

        Raises ValueError where no table exists.
        """
        if gpus not in self.tables or not isinstance(self.cost, Coefficients):
            accepted = " or ".join(map(str, sorted(self.tables))) or str(self.gpus)
            raise ValueError(f"gpus {gpus}: {self.name} has tables for {accepted}")
        cost = replace(self.tables[gpus], s_pf=self.cost.s_pf, s_dc=self.cost.s_dc)
        return replace(self, gpus=gpus, cost=cost)

    def engine(self, seed: int) -> Engine:
        return Engine(
            cost=self.cost,
            policy=self.policy,
            speculation=self.speculation,
            kv_tokens=self.kv_tokens,
            prefix_cache=self.prefix_cache,
            ttft_fixed_s=self.ttft_fixed_s,
            seed=seed,
        )


# s_pf and s_dc are fitted to 0.71 s, 1.1 s and 5.1 s (first calibration, session model of 8k new
# tokens per turn).
PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="together-like",
            gpus=4,
            cost=replace(TRTLLM_TP4, s_pf=1.17, s_dc=1.05),
        ),
        Preset(
            name="trtllm-like",
            gpus=4,
            cost=replace(TRTLLM_TP4, s_pf=0.87),
        ),
        Preset(
            name="sglang-like",
            gpus=8,
            cost=replace(SGLANG_TP8, s_pf=0.26),
            policy=Policy(mode="prefill_first"),
            kv_tokens=6_000_000,  # guess
        ),
    )
}
DEFAULT_PRESET = "trtllm-like"
