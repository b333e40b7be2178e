"""Roofline: the time that the hardware needs at least, at 100 % of its peaks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from tokenswarm.engine.physics.hardware import GPU, Precision
from tokenswarm.engine.physics.kv_pool import Attention
from tokenswarm.engine.physics.models import BF16_BYTES, FOUR_BIT_BYTES, Model


class Terms(NamedTuple):
    """What `Roofline.step_s` multiplies; seconds on all GPUs together."""

    linear_s: float  # per token
    prefill_pair_s: float
    decode_pair_s: float
    longest_token_s: float  # prefill of a token at the end of the longest context
    always_read_s: float  # weights that every step reads
    expert_read_s: float  # one routed expert of every layer
    kv_read_s: float  # per token of context
    num_experts: int
    untouched: float  # chance that one token passes an expert by


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """A `Cost` that no kernel beats: no launch, no communication, no draft model, no sampling.

        compute = tokens x 2 P_active / peak(linear) + pairs x FLOP per pair / peak(attention)
        memory  = [weights read + KV of K context tokens] / bandwidth
        step    = max(compute, memory)

    B sequences decode (1 + drafts) tokens each and touch E (1 - (1 - k/E)^tokens) routed experts
    in expectation. KV is read once where attention is data-parallel (or the latent is split over
    ranks), by every rank where it is tensor-parallel. efficiency scales the bandwidth; 1 is the
    limit. Precisions: the narrowest in use for this model, fp4 for linear layers, fp8 for
    attention and KV.
    """

    model: Model
    gpu: GPU
    gpus: int
    drafts: int
    attention: Attention = "data_parallel"
    linear: Precision = "fp4"
    attention_precision: Precision = "fp8"
    efficiency: float = 1.0

    def prefill_s(self, num_new: int, num_before: int) -> float:
        """Compute time of one piece; reading the weights is the step's."""
        terms = self.terms
        pairs = num_new * (num_before + num_new / 2)
        return num_new * terms.linear_s + pairs * terms.prefill_pair_s

    def step_s(self, prefill_s: float, num_decoding: int, context_tokens: int) -> float:
        """max(compute, memory). At least prefill_s / longest_token_s tokens are in the prefill."""
        terms = self.terms
        verified = num_decoding * (1 + self.drafts)
        least_tokens = verified + prefill_s / terms.longest_token_s
        experts: float = terms.num_experts * (1 - terms.untouched**least_tokens)
        memory_s = (
            terms.always_read_s + experts * terms.expert_read_s + context_tokens * terms.kv_read_s
        )
        pairs = context_tokens * (1 + self.drafts)
        compute_s = prefill_s + verified * terms.linear_s + pairs * terms.decode_pair_s
        return max(memory_s, compute_s)

    @cached_property
    def terms(self) -> Terms:
        model = self.model
        linear = self.gpus * self.gpu.peak_flop_per_s(self.linear)
        attention = self.gpus * self.gpu.peak_flop_per_s(self.attention_precision)
        read = self.gpus * self.gpu.memory_byte_per_s * self.efficiency
        linear_s = model.linear_flop / linear
        pair_s = model.prefill_pair_flop / attention
        always = (
            model.attention_parameters + model.router_parameters + model.embedding_parameters
        ) * BF16_BYTES + model.shared_parameters * FOUR_BIT_BYTES
        expert = model.num_moe_layers * model.expert_parameters * FOUR_BIT_BYTES
        readers = self.gpus if self.attention == "tensor_parallel" else 1
        return Terms(
            linear_s=linear_s,
            prefill_pair_s=pair_s,
            decode_pair_s=model.decode_pair_flop / attention,
            longest_token_s=linear_s + model.context_tokens * pair_s,
            always_read_s=always / read,
            expert_read_s=expert / read,
            kv_read_s=readers * model.kv_bytes(1.0) / read,
            num_experts=model.num_experts,
            untouched=1 - model.experts_per_token / model.num_experts,
        )
