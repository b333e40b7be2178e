"""Presets of the embedded engine: illustrative fits, simulated, never measurements.

Each preset combines step-time coefficients fitted to NVIDIA AIConfigurator 0.12.0's operator
tables (Kimi K2.5 on B200, fp8 KV) with speed factors fitted to the p50 TTFT that a published
study reports at 2.5M input TPM. They say what an engine *like* the named one would do under this
model; they are not measurements of TensorRT-LLM, SGLang or the Together Inference Engine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenswarm.engine.core.engine import Engine
from tokenswarm.engine.core.fleet import Fleet
from tokenswarm.engine.core.host_tier import HostMemory
from tokenswarm.engine.core.router import Router, Routing
from tokenswarm.engine.core.scheduler import Policy
from tokenswarm.engine.core.speculation import Speculation
from tokenswarm.engine.core.step_time import Coefficients, Cost
from tokenswarm.engine.physics.fit import Fit
from tokenswarm.engine.physics.fitted import FITS
from tokenswarm.engine.physics.hardware import B200
from tokenswarm.engine.physics.kv_pool import Attention, Memory, most_tokens, pool_tokens
from tokenswarm.engine.physics.models import KIMI_K2_5
from tokenswarm.engine.physics.roofline import Roofline

# The study: EAGLE with 3 drafts, acceptance about 70 %. Read as the chance per position (2.533
# tokens per step); read as accepted/drafted it would be 3.1 tokens per step (0.832 per position).
EAGLE3 = Speculation.of(0.7, drafts=3, meaning="per_position")


def fitted(software: str, gpus: int) -> Fit:
    """The fit to that engine's tables. Raises ValueError, naming the numbers of GPUs there are."""
    there = {fit.gpus: fit for fit in FITS if fit.software == software}
    if gpus not in there:
        accepted = " or ".join(map(str, sorted(there)))
        raise ValueError(f"gpus {gpus}: tables of {software} are fitted for {accepted}")
    return there[gpus]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything that makes one simulated engine.

    software: whose tables `cost` comes from; None for the roofline, which has none.
    memory: what the pool on other GPUs is derived from (`kv_pool`); None for the roofline, whose
        pool is the physical limit. The tables are tensor-parallel whatever the attention here.
    host: a second tier of the prefix cache in host memory; None for none.
    replicas, routing: engines like this behind a router; gpus and kv_tokens are of each.
    """

    name: str
    gpus: int
    cost: Cost
    kv_tokens: int
    software: str | None = None
    memory: Memory | None = None
    policy: Policy = Policy()
    speculation: Speculation = EAGLE3
    prefix_cache: bool = True
    host: HostMemory | None = None
    ttft_fixed_s: float = 0.080  # guess: network, tokenising, templating
    replicas: int = 1
    routing: Routing = "round-robin"

    @property
    def engine_name(self) -> str:
        return f"sim:{self.name}"

    def on_gpus(self, gpus: int) -> Preset:
        """The same engine on another number of GPUs. Estimated.

        The tables of that number with the speed factors kept, the pool derived anew, a rank for
        each GPU if ranks have their own caches. Raises ValueError where no table exists or the
        weights do not fit.
        """
        ranks = gpus if self.policy.ranks > 1 else 1
        return replace(
            self,
            gpus=gpus,
            cost=self._cost(gpus, self.speculation),
            kv_tokens=self._pool(gpus, self.memory),
            policy=replace(self.policy, ranks=ranks),
        )

    def with_attention(self, attention: Attention) -> Preset:
        """The pool under another layout of attention; step times stay. Estimated."""
        if self.memory is None:
            raise ValueError(f"attention: the pool of {self.name} is the limit of any layout")
        memory = replace(self.memory, attention=attention)
        return replace(self, memory=memory, kv_tokens=self._pool(self.gpus, memory))

    def with_speculation(self, speculation: Speculation) -> Preset:
        """Other drafts: the decode table of that number. Raises ValueError without one."""
        cost = self.cost
        if speculation.num_drafts != self.speculation.num_drafts:
            cost = self._cost(self.gpus, speculation)
        return replace(self, cost=cost, speculation=speculation)

    def with_host_tier(self, kv_tokens: int) -> Preset:
        """With a tier of that many tokens in host memory, 0 for none.

        Each rank brings the latents that it needs over its own link: time per token = KV bytes /
        link bandwidth, peak (PCIe 5.0; what is reached is lower, about 80 %: guess, left out).
        """
        load_s_per_token = KIMI_K2_5.kv_bytes(1.0) / B200.host_byte_per_s
        host = HostMemory(kv_tokens=kv_tokens, load_s_per_token=load_s_per_token)
        return replace(self, host=host if kv_tokens else None)

    @property
    def all_gpus(self) -> int:
        """Of all replicas together."""
        return self.gpus * self.replicas

    def fleet(self, seed: int) -> Fleet:
        """All replicas, each with chances of its own; the first's are those of it alone."""
        engines = [self.engine(seed + (n << 32)) for n in range(self.replicas)]
        return Fleet(engines, Router(self.routing, seed))

    def engine(self, seed: int) -> Engine:
        """One replica."""
        return Engine(
            cost=self.cost,
            policy=self.policy,
            speculation=self.speculation,
            kv_tokens=self.kv_tokens,
            prefix_cache=self.prefix_cache,
            host=self.host,
            ttft_fixed_s=self.ttft_fixed_s,
            seed=seed,
        )

    def _cost(self, gpus: int, speculation: Speculation) -> Cost:
        drafts = speculation.num_drafts
        if isinstance(self.cost, Roofline):
            return replace(self.cost, gpus=gpus, drafts=drafts)
        if self.software is None or not isinstance(self.cost, Coefficients):
            raise ValueError(f"{self.name} has no tables for other GPUs or drafts")
        table = fitted(self.software, gpus).coefficients(drafts)
        return replace(table, s_pf=self.cost.s_pf, s_dc=self.cost.s_dc)

    def _pool(self, gpus: int, memory: Memory | None) -> int:
        gpu = self.cost.gpu if isinstance(self.cost, Roofline) else B200
        if memory is None:
            return most_tokens(KIMI_K2_5, gpu, gpus)
        return pool_tokens(KIMI_K2_5, gpu, gpus, memory)


_TRTLLM_TP4 = fitted("TensorRT-LLM", 4).coefficients(EAGLE3.num_drafts)
_SGLANG_TP8 = fitted("SGLang", 8).coefficients(EAGLE3.num_drafts)

# From memory: tensor-parallel on four GPUs; SGLang's data-parallel attention on eight.
_TENSOR_PARALLEL = Memory(attention="tensor_parallel")
_DATA_PARALLEL = Memory(attention="data_parallel", fraction_of="total")
# Guess: that there is a tier. Its size hardly matters: 281 GB hold twice what 2.5M TPM reuse.
_HOST_TOKENS = 8_000_000

# s_pf and s_dc: scripts/fit_presets.py, to the study's 0.71 s, 1.1 s and 5.1 s at 2.5M TPM and its
# 1.31 x TPS; open mode, profile seed.
_FITTED = (
    Preset(
        name="together-like",
        gpus=4,
        software="TensorRT-LLM",  # the nearest tables there are
        cost=replace(_TRTLLM_TP4, s_pf=0.883, s_dc=1.042),
        memory=_TENSOR_PARALLEL,
        kv_tokens=pool_tokens(KIMI_K2_5, B200, 4, _TENSOR_PARALLEL),
    ).with_host_tier(_HOST_TOKENS),
    Preset(
        name="trtllm-like",
        gpus=4,
        software="TensorRT-LLM",
        cost=replace(_TRTLLM_TP4, s_pf=0.729),
        memory=_TENSOR_PARALLEL,
        kv_tokens=pool_tokens(KIMI_K2_5, B200, 4, _TENSOR_PARALLEL),
    ).with_host_tier(_HOST_TOKENS),
    # One prefix cache a rank, and a router that does not know which: SGLang's data-parallel
    # attention in one instance (sgl-project/sglang issues 26611, 31170). Its chunk is shared out
    # over the ranks, 16,384 is its default on B200 (server_args.py). Mixed chunks are an option
    # there, not the default: guess.
    Preset(
        name="sglang-like",
        gpus=8,
        software="SGLang",
        cost=replace(_SGLANG_TP8, s_pf=1.0),
        policy=Policy(mode="mixed", chunk_tokens=16_384, ranks=8),
        memory=_DATA_PARALLEL,
        kv_tokens=pool_tokens(KIMI_K2_5, B200, 8, _DATA_PARALLEL),
    ),
)
_ROOFLINE = Preset(
    name="roofline",
    gpus=4,
    cost=Roofline(model=KIMI_K2_5, gpu=B200, gpus=4, drafts=EAGLE3.num_drafts),
    policy=Policy(max_running=256),  # no limit of the hardware's
    kv_tokens=most_tokens(KIMI_K2_5, B200, 4),
    ttft_fixed_s=0.0,
).with_host_tier(_HOST_TOKENS)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*_FITTED, _ROOFLINE)}
DEFAULT_PRESET = "trtllm-like"
