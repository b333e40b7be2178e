"""Names: which metric of which engine counts what, and a page of metrics read by them.

Checked on live pages: the embedded engine's and llama.cpp's (build 10434). The names of vLLM 0.32,
SGLang 0.5.23, TensorRT-LLM and Dynamo 1.6 are those that they publish, a few guessed where that is
silent (generation and request counters of SGLang and TensorRT-LLM, Dynamo's sum of outputs); no
live page of theirs has been read with them. Prompt tokens are all of a prompt, cached ones
included.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

QUANTITIES = (
    "prompt_tokens",
    "cached_tokens",
    "generated_tokens",
    "requests",
    "ttft_sum_s",
    "ttft_count",
)

# Samples that are added up. The first tuple of which the page has every name is taken, so an older
# version's names stand behind the newer ones.
Alternatives = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Engine:
    """The samples that hold each of QUANTITIES; a quantity that is left out, it does not count."""

    name: str
    samples: Mapping[str, Alternatives]


def _histogram(name: str) -> dict[str, Alternatives]:
    return {"ttft_sum_s": ((f"{name}_sum",),), "ttft_count": ((f"{name}_count",),)}


ENGINES = (
    Engine(
        "vLLM",  # and the embedded engine
        {
            "prompt_tokens": (("vllm:prompt_tokens_total",),),
            "cached_tokens": (
                ("vllm:prompt_tokens_cached_total",),
                ("vllm:prefix_cache_hits_total",),
            ),
            "generated_tokens": (("vllm:generation_tokens_total",),),
            "requests": (("vllm:request_success_total",),),
            **_histogram("vllm:time_to_first_token_seconds"),
        },
    ),
    Engine(
        "SGLang",
        {
            "prompt_tokens": (("sglang:prompt_tokens_total",),),
            "cached_tokens": (("sglang:cached_tokens_total",),),
            "generated_tokens": (("sglang:generation_tokens_total",),),
            "requests": (("sglang:num_requests_total",),),
            **_histogram("sglang:time_to_first_token_seconds"),
        },
    ),
    Engine(
        "TensorRT-LLM",
        {
            "prompt_tokens": (("trtllm_prompt_tokens_total",), ("prompt_tokens_total",)),
            "cached_tokens": (
                ("trtllm_prompt_cached_tokens_total",),
                ("prompt_cached_tokens_total",),
            ),
            "generated_tokens": (("trtllm_generation_tokens_total",), ("generation_tokens_total",)),
            "requests": (("trtllm_request_success_total",), ("request_success_total",)),
            **_histogram("trtllm_time_to_first_token_seconds"),
        },
    ),
    Engine(
        "llama.cpp",  # its prompt tokens are those that it computed
        {
            "prompt_tokens": (
                ("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"),
            ),
            "cached_tokens": (("llamacpp:prompt_tokens_cached_total",),),
            "generated_tokens": (("llamacpp:tokens_predicted_total",),),
        },
    ),
    Engine(
        "Dynamo",
        {
            "prompt_tokens": (("dynamo_frontend_input_sequence_tokens_sum",),),
            "cached_tokens": (("dynamo_frontend_cached_tokens_sum",),),
            "generated_tokens": (("dynamo_frontend_output_sequence_tokens_sum",),),
            "requests": (("dynamo_frontend_requests_total",),),
            **_histogram("dynamo_frontend_time_to_first_token_seconds"),
        },
    ),
)

_KNOWN = {
    sample
    for engine in ENGINES
    for alternatives in engine.samples.values()
    for names in alternatives
    for sample in names
}
_NAME = re.compile(r"[a-zA-Z_:][\w:]*")


@dataclass(frozen=True, slots=True)
class Page:
    """engine: whose page it is; values by QUANTITIES, None where the page does not have it."""

    engine: str
    values: dict[str, float | None]


def read_page(text: str) -> Page | None:
    """The counters of a page, added up over its labels; None where no engine's are on it.

    Only lines with a known name are parsed: a page may hold a hundred thousand others.
    Raises ValueError where such a line cannot be read.
    """
    sums = _sums("\n".join(line for line in text.splitlines() if _name(line) in _KNOWN) + "\n")
    for engine in ENGINES:
        values = {
            quantity: _first(engine.samples.get(quantity, ()), sums) for quantity in QUANTITIES
        }
        if any(value is not None for value in values.values()):
            return Page(engine.name, values)
    return None


def _name(line: str) -> str:
    found = _NAME.match(line)
    return found.group() if found else ""


def _sums(text: str) -> dict[str, float]:
    """Sums over the labels by sample name. SGLang has a source "total" beside its sources."""
    parts: dict[str, dict[bool, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if math.isfinite(sample.value):
                total = sample.labels.get("cache_source") == "total"
                sums = parts.setdefault(sample.name, {})
                sums[total] = sums.get(total, 0.0) + sample.value
    return {name: sums.get(False, sums.get(True, 0.0)) for name, sums in parts.items()}


def _first(alternatives: Alternatives, sums: Mapping[str, float]) -> float | None:
    for names in alternatives:
        if all(name in sums for name in names):
            return sum(sums[name] for name in names)
    return None
