"""Settings of one embedded engine process."""

from __future__ import annotations

from dataclasses import dataclass

from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.physics.presets import Preset


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """preset: already with the command line's changes. speed: engine seconds per wall second;
    driven: engine time goes on only as far as a generator says, and speed is 1.
    reasoning_effort: where a request names none. replica_header: answers name the replica.
    """

    preset: Preset
    model: str
    speed: float = 1.0
    driven: bool = False
    seed: int = 0
    context_tokens: int = 262_144
    api_key: str | None = None
    reasoning_effort: str = "none"
    replica_header: bool = True
    body_timeout_s: float = 60.0  # of a whole body, however slowly it drips; guess

    @property
    def max_tokens(self) -> int:
        """Prompt and output together: the context, or the KV pool where that is smaller."""
        return min(self.context_tokens, self.preset.kv_tokens // BLOCK_TOKENS * BLOCK_TOKENS)
