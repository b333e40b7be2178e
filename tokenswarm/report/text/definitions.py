"""Definitions: what each number of the page is, in a sentence."""

from __future__ import annotations

# Formulas and edge cases stand in docs/metrics.md and docs/report.md.
DEFINITIONS: tuple[tuple[str, str], ...] = (
    ("turn", "One request of a coding session: a prompt that has grown, and its reply."),
    (
        "input TPM",
        "Prompt tokens per minute. Offered: of the turns that came due in a level, however they "
        "ended. Answered: of the turns whose reply ended in it.",
    ),
    (
        "TTFT",
        "Time to first token: from the first byte sent to the first chunk with text, reasoning or "
        "a tool call. Turns cut off by the end of the run count as at least as long as they had "
        "waited.",
    ),
    (
        "TPS",
        "Decode speed of one developer: (output tokens - tokens of the first chunk) / (last chunk "
        "with output - first).",
    ),
    (
        "goodput",
        "Share of the turns that came due and met every objective, each judged alone. Failed and "
        "unfinished turns have missed.",
    ),
    (
        "cache hits",
        "Prompt tokens that the server says it took from its prefix cache / prompt tokens. At "
        "best: what an endless cache would have held.",
    ),
    ("new tokens", "Prompt tokens that an endless cache would not have held."),
    (
        "capacity",
        "The highest input TPM achieved up to which the objectives hold, interpolated between the "
        "levels.",
    ),
    (
        "knee",
        "The offered load at which achieved TPM / TTFT p50 is highest: beyond it more load costs "
        "more than it brings.",
    ),
    (
        "95% interval",
        "Where the truth lies in 95 of 100 such runs: from resampling whole sessions and blocks of "
        "time, since turns of one session are alike.",
    ),
    (
        "* and hollow points",
        "Too few turns to claim this percentile: a p50 needs 11, a p90 64, a p99 662.",
    ),
    ("steady", "TTFT did not drift and no work piled up within the level, after its warm-up."),
    (
        "verdict",
        "Whether the measurement can be trusted. It says nothing of whether the endpoint is good.",
    ),
    ("-", "Unknown. Never zero."),
)
