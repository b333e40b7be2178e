"""Models: sizes, bytes and operations, derived by formula from a published configuration."""

from __future__ import annotations

from dataclasses import dataclass

BF16_BYTES = 2.0
# 4 bits and a scale: one FP8 byte per 16 weights (NVFP4) or two bytes per 32 (INT4, group 32).
FOUR_BIT_BYTES = 0.5 + 1 / 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A mixture-of-experts transformer with multi-head latent attention (DeepSeek V3's form).

    Names follow the published configuration. Parameters count the language model without norms
    and the vision tower (together below 0.1 %).
    """

    name: str
    num_layers: int
    num_dense_layers: int
    hidden: int
    num_heads: int
    q_lora_rank: int
    kv_lora_rank: int
    rope_dim: int
    nope_dim: int
    value_dim: int
    num_experts: int
    experts_per_token: int
    num_shared_experts: int
    expert_width: int
    dense_width: int
    vocabulary: int
    context_tokens: int

    @property
    def num_moe_layers(self) -> int:
        return self.num_layers - self.num_dense_layers

    @property
    def latent_dim(self) -> int:
        """Elements of KV that one layer keeps per token: c_kv and the shared rotary key."""
        return self.kv_lora_rank + self.rope_dim

    @property
    def down_parameters(self) -> int:
        """Projections into the latents, all layers: not divisible by heads, so each
        tensor-parallel rank has them whole."""
        return self.num_layers * self.hidden * (self.q_lora_rank + self.latent_dim)

    @property
    def attention_parameters(self) -> int:
        up_q = self.q_lora_rank * self.num_heads * (self.nope_dim + self.rope_dim)
        up_kv = self.kv_lora_rank * self.num_heads * (self.nope_dim + self.value_dim)
        output = self.num_heads * self.value_dim * self.hidden
        return self.down_parameters + self.num_layers * (up_q + up_kv + output)

    @property
    def expert_parameters(self) -> int:
        """One expert of one layer: gate, up and down projection."""
        return 3 * self.hidden * self.expert_width

    @property
    def routed_parameters(self) -> int:
        return self.num_moe_layers * self.num_experts * self.expert_parameters

    @property
    def shared_parameters(self) -> int:
        """Shared experts and dense layers: every token passes them."""
        shared = self.num_moe_layers * self.num_shared_experts * self.expert_parameters
        return shared + self.num_dense_layers * 3 * self.hidden * self.dense_width

    @property
    def router_parameters(self) -> int:
        return self.num_moe_layers * self.hidden * self.num_experts

    @property
    def embedding_parameters(self) -> int:
        """The input table; the output head is as large again."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        return (
            self.routed_parameters
            + self.shared_parameters
            + self.attention_parameters
            + self.router_parameters
            + 2 * self.embedding_parameters
        )

    @property
    def active_parameters(self) -> int:
        """Parameters that one token is multiplied with; of the embeddings only the head."""
        chosen = self.num_moe_layers * self.experts_per_token * self.expert_parameters
        return (
            chosen
            + self.shared_parameters
            + self.attention_parameters
            + self.router_parameters
            + self.embedding_parameters
        )

    def weights_bytes(self, shared_element_bytes: float = BF16_BYTES) -> float:
        """Routed experts in 4 bits with scales, the rest in bf16: the published INT4 checkpoint.

        NVIDIA's NVFP4 checkpoint has shared experts and dense layers in 4 bits too:
        shared_element_bytes = FOUR_BIT_BYTES.
        """
        rest = self.parameters - self.routed_parameters - self.shared_parameters
        return (
            self.routed_parameters * FOUR_BIT_BYTES
            + self.shared_parameters * shared_element_bytes
            + rest * BF16_BYTES
        )

    def kv_bytes(self, element_bytes: float) -> float:
        """KV of one token in all layers: layers x latent x bytes per element (fp8 1, bf16 2)."""
        return self.num_layers * self.latent_dim * element_bytes

    @property
    def linear_flop(self) -> int:
        """Per token: a multiplication and an addition per active parameter."""
        return 2 * self.active_parameters

    @property
    def prefill_pair_flop(self) -> int:
        """Attention per (query, key) pair in prefill, keys and values expanded:
        2 (nope + rope + value) x heads x layers."""
        return (
            2 * (self.nope_dim + self.rope_dim + self.value_dim) * self.num_heads * self.num_layers
        )

    @property
    def decode_pair_flop(self) -> int:
        """Attention per (query, key) pair in decode, in the latent space:
        2 (latent + kv_lora_rank) x heads x layers."""
        return 2 * (self.latent_dim + self.kv_lora_rank) * self.num_heads * self.num_layers


# The language model of huggingface.co/moonshotai/Kimi-K2.5, config.json, text_config.
KIMI_K2_5 = Model(
    name="Kimi-K2.5",
    num_layers=61,
    num_dense_layers=1,
    hidden=7168,
    num_heads=64,
    q_lora_rank=1536,
    kv_lora_rank=512,
    rope_dim=64,
    nope_dim=128,
    value_dim=128,
    num_experts=384,
    experts_per_token=8,
    num_shared_experts=1,
    expert_width=2048,
    dense_width=18432,
    vocabulary=163_840,
    context_tokens=262_144,
)
