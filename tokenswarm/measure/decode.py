"""Decode: how fast one user sees tokens. One formula, for a turn and for a million of them.

    decode TPS = (streamed - tokens with the first stamp) / (last token - first token)

streamed: the output tokens; where the server does not say how many came first, less the reasoning
tokens that were not streamed (nothing came before the first visible chunk).
Tokens with the first stamp: the server's own count; else the first chunk is taken for the tokens
that it reports, or for the one token that a prefill yields, and the k - 1 others with its stamp for
the mean of the rest: first + (k - 1) (streamed - 1) / (output chunks - 1).
Unknown with fewer than two output chunks, without usage, or when all chunks share one stamp.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Amounts = NDArray[np.float64] | float  # NaN is unknown


def decode_tps(
    *,
    output_tokens: Amounts,
    output_chunks: Amounts,
    first_token_at_s: Amounts,
    last_token_at_s: Amounts,
    first_visible_at_s: Amounts = np.nan,
    reasoning_tokens: Amounts = np.nan,
    first_chunk_tokens: Amounts = np.nan,
    first_stamp_chunks: Amounts = np.nan,
    first_stamp_tokens: Amounts = np.nan,
) -> NDArray[np.float64]:
    """Tokens per second of each turn, NaN where unknown; the arguments are TurnRecord's fields."""
    estimated = np.isnan(first_stamp_tokens) & np.isnan(first_chunk_tokens)
    window_s = np.subtract(last_token_at_s, first_token_at_s)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        hidden = np.where(
            estimated & np.equal(first_visible_at_s, first_token_at_s),
            np.nan_to_num(reasoning_tokens),
            0.0,
        )
        streamed = output_tokens - hidden
        beside = np.maximum(np.nan_to_num(first_stamp_chunks, nan=1.0) - 1, 0.0)
        told = np.where(np.greater(first_chunk_tokens, 0), first_chunk_tokens, 1.0)
        mean = (streamed - 1) / np.subtract(output_chunks, 1)
        first = np.where(
            np.isnan(first_stamp_tokens),
            np.where(beside > 0, told + beside * mean, told),
            first_stamp_tokens,
        )
        decoded = streamed - first
        known = (window_s != 0) & np.greater_equal(output_chunks, 2) & (decoded > 0)
        return np.where(known, decoded / window_s, np.nan)
