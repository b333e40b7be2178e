"""What the published study says of its three engines at 2.5M input TPM (Kimi K2.5, B200, EAGLE).

The presets are fitted to these figures; see docs/engine.md.
"""

from __future__ import annotations

from typing import NamedTuple

TPM = 2.5e6  # the study: "at 2.5M TPM", 625k per GPU on four


class Published(NamedTuple):
    """p50 TTFT, and decode TPS per user as a multiple of TensorRT-LLM's; None: not published."""

    ttft_p50_s: float | None
    tps_ratio: float | None


PUBLISHED = {
    "together-like": Published(0.71, 1.31),
    "trtllm-like": Published(1.1, 1.0),
    "sglang-like": Published(5.1, None),
}
TPS_REFERENCE = "trtllm-like"
