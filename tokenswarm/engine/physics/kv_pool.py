"""How many tokens of KV cache fit beside the weights.

    rank   = whole + (weights - whole) / gpus              bytes of weights on one GPU
    budget = fraction x (memory - rank - reserve - draft)  "of free", TensorRT-LLM
           = fraction x memory - rank - reserve - draft    "of total", SGLang and vLLM
    pool   = budget / (KV bytes per token)  x  ranks with KV of their own

Attention tensor-parallel: the latent of MLA belongs to all heads, so every rank keeps all of it
and the pool does not grow with the ranks. Attention data-parallel: each rank keeps its own
sequences and the whole attention weights; pools add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tokenswarm.engine.physics.hardware import GPU
from tokenswarm.engine.physics.models import BF16_BYTES, FOUR_BIT_BYTES, Model

Attention = Literal["tensor_parallel", "data_parallel"]
FractionOf = Literal["free", "total"]

# Activations (6.81 GB at 8,192 tokens a step), runtime (3.76 GB) and communication buffers
# (0.41 GB) of one rank, AIConfigurator 0.12.0's estimate for TensorRT-LLM and vLLM.
RESERVE_BYTES = 10.98e9
# EAGLE-3 draft: one layer of the target's attention and dense MLP, the projection of three hidden
# states and a head, in bf16, on each rank. The form is public, the size is our arithmetic: guess.
DRAFT_BYTES = 3.5e9


class NoRoom(ValueError):
    """The weights and the reserve leave no memory for KV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How one engine shares out each GPU's memory. fraction 0.9: TensorRT-LLM's, vLLM's default."""

    attention: Attention
    fraction: float = 0.9
    fraction_of: FractionOf = "free"
    reserve_bytes: float = RESERVE_BYTES
    draft_bytes: float = DRAFT_BYTES
    kv_element_bytes: float = 1.0  # fp8
    shared_element_bytes: float = FOUR_BIT_BYTES  # NVFP4 checkpoint


def rank_bytes(
    model: Model, gpus: int, attention: Attention, shared_element_bytes: float = FOUR_BIT_BYTES
) -> float:
    """Weights on one GPU: what cannot be split, and an equal part of the rest."""
    whole = model.embedding_parameters + model.router_parameters
    if attention == "data_parallel":
        whole += model.attention_parameters
    else:
        whole += model.down_parameters
    whole_bytes = whole * BF16_BYTES
    return whole_bytes + (model.weights_bytes(shared_element_bytes) - whole_bytes) / gpus


def pool_tokens(model: Model, gpu: GPU, gpus: int, memory: Memory) -> int:
    """Tokens in the pool of `gpus` GPUs. Raises NoRoom."""
    weights = rank_bytes(model, gpus, memory.attention, memory.shared_element_bytes)
    taken = weights + memory.reserve_bytes + memory.draft_bytes
    if memory.fraction_of == "free":
        budget = memory.fraction * (gpu.memory_bytes - taken)
    else:
        budget = memory.fraction * gpu.memory_bytes - taken
    if budget <= 0:
        raise NoRoom(
            f"{model.name} on {gpus} x {gpu.name}: {taken / 1e9:.0f} GB a GPU before KV, "
            f"{gpu.memory_bytes / 1e9:.0f} GB there are"
        )
    ranks = gpus if memory.attention == "data_parallel" else 1
    return ranks * int(budget / model.kv_bytes(memory.kv_element_bytes))


def most_tokens(model: Model, gpu: GPU, gpus: int) -> int:
    """The physical limit: every byte that holds no weight holds fp8 KV, nothing is there twice."""
    free = gpus * gpu.memory_bytes - model.weights_bytes(FOUR_BIT_BYTES)
    if free <= 0:
        raise NoRoom(f"{model.name} does not fit {gpus} x {gpu.name}")
    return int(free / model.kv_bytes(1.0))
