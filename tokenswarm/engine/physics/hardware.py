"""GPUs: what a data sheet says about one, and the link to its host's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["bf16", "fp8", "fp4"]
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class GPU:
    """One GPU. `_flop_per_s`: dense tensor-core peaks; None where it has no units.

    nvlink_byte_per_s and host_byte_per_s are one direction.
    """

    name: str
    memory_bytes: int
    memory_byte_per_s: float
    bf16_flop_per_s: float
    fp8_flop_per_s: float
    fp4_flop_per_s: float | None
    nvlink_byte_per_s: float
    host_byte_per_s: float

    def peak_flop_per_s(self, precision: Precision) -> float:
        """Dense peak at `precision`, or at the next wider one that the GPU has units for."""
        if precision == "bf16":
            return self.bf16_flop_per_s
        if precision == "fp4" and self.fp4_flop_per_s is not None:
            return self.fp4_flop_per_s
        return self.fp8_flop_per_s


# PCIe 5.0 x16, 32 GT/s, 128b/130b: 63 GB/s each way. The DGX and HGX hosts of all three have it
# (NVIDIA DGX H100, H200, B200 user guides); AIConfigurator writes 128 GB/s (PCIe 6.0) for B200.
PCIE_5_BYTE_PER_S = 63e9

# B200: AIConfigurator 0.12.0 systems/b200_sxm.yaml, after NVIDIA's Blackwell data sheet. HBM3e is
# sold as 180 GB (DGX B200), 7.7 or 8.0 TB/s; the table's 180 GiB is what its pools assume.
B200 = GPU(
    name="B200",
    memory_bytes=180 * GIB,
    memory_byte_per_s=7.7e12,
    bf16_flop_per_s=2.25e15,
    fp8_flop_per_s=4.5e15,
    fp4_flop_per_s=9.0e15,
    nvlink_byte_per_s=900e9,
    host_byte_per_s=PCIE_5_BYTE_PER_S,
)
# H100 SXM5 and H200 SXM: AIConfigurator 0.12.0 systems/{h100,h200}_sxm.yaml, after NVIDIA's data
# sheets (80 GB, 3.35 TB/s; 141 GB, 4.8 TB/s; dense figures, half of those with sparsity).
H100 = GPU(
    name="H100",
    memory_bytes=80 * GIB,
    memory_byte_per_s=3.35e12,
    bf16_flop_per_s=0.989e15,
    fp8_flop_per_s=1.979e15,
    fp4_flop_per_s=None,
    nvlink_byte_per_s=450e9,
    host_byte_per_s=PCIE_5_BYTE_PER_S,
)
H200 = GPU(
    name="H200",
    memory_bytes=141 * 10**9,  # the data sheet's decimal figure; AIConfigurator takes 141 GiB
    memory_byte_per_s=4.8e12,
    bf16_flop_per_s=0.989e15,
    fp8_flop_per_s=1.979e15,
    fp4_flop_per_s=None,
    nvlink_byte_per_s=450e9,
    host_byte_per_s=PCIE_5_BYTE_PER_S,
)
GPUS = {gpu.name: gpu for gpu in (B200, H100, H200)}
