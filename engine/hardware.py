"""GPUs: what a data sheet says about one, and the link to its host's memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Precision = Literal["bf16", "fp8", "fp4"]
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class GPU:
    """One GPU. flop_per_s: dense tensor-core peak by precision; absent where it has no units.

    nvlink_byte_per_s and host_byte_per_s are one direction.
    """

    name: str
    memory_bytes: int
    memory_byte_per_s: float
    flop_per_s: Mapping[Precision, float]
    nvlink_byte_per_s: float
    host_byte_per_s: float

    def peak_flop_per_s(self, precision: Precision) -> float:
        """Dense peak at `precision`, or at the next wider one that the GPU has units for."""
        for wider in (precision, "fp8", "bf16"):
            if wider in self.flop_per_s:
                return self.flop_per_s[wider]
        raise ValueError(f"{self.name} has no units for {precision}")


# PCIe 5.0 x16, 32 GT/s, 128b/130b: 63 GB/s each way. The DGX and HGX hosts of all three have it
# (NVIDIA DGX H100, H200, B200 user guides); AIConfigurator writes 128 GB/s (PCIe 6.0) for B200.
PCIE_5_BYTE_PER_S = 63e9

# B200: AIConfigurator 0.12.0 systems/b200_sxm.yaml, after NVIDIA's Blackwell data sheet. HBM3e is
# sold as 180 GB (DGX B200), 7.7 or 8.0 TB/s; the table's 180 GiB is what its pools assume.
B200 = GPU(
    name="B200",
    memory_bytes=180 * GIB,
    memory_byte_per_s=7.7e12,
    flop_per_s=MappingProxyType({"bf16": 2.25e15, "fp8": 4.5e15, "fp4": 9.0e15}),
    nvlink_byte_per_s=900e9,
    host_byte_per_s=PCIE_5_BYTE_PER_S,
)
# H100 SXM5 and H200 SXM: AIConfigurator 0.12.0 systems/{h100,h200}_sxm.yaml, after NVIDIA's data
# sheets (80 GB, 3.35 TB/s; 141 GB, 4.8 TB/s; dense figures, half of those with sparsity).
H100 = GPU(
    name="H100",
    memory_bytes=80 * GIB,
    memory_byte_per_s=3.35e12,
    flop_per_s=MappingProxyType({"bf16": 0.989e15, "fp8": 1.979e15}),
    nvlink_byte_per_s=450e9,
    host_byte_per_s=PCIE_5_BYTE_PER_S,
)
H200 = GPU(
    name="H200",
    memory_bytes=141 * 10**9,  # the data sheet's decimal figure; AIConfigurator takes 141 GiB
    memory_byte_per_s=4.8e12,
    flop_per_s=MappingProxyType({"bf16": 0.989e15, "fp8": 1.979e15}),
    nvlink_byte_per_s=450e9,
    host_byte_per_s=PCIE_5_BYTE_PER_S,
)
GPUS = {gpu.name: gpu for gpu in (B200, H100, H200)}
