"""Dashboard: the engine's own /metrics beside what its clients saw.

The names are those of vLLM (and the embedded engine), SGLang, TensorRT-LLM, llama.cpp and NVIDIA
Dynamo. vLLM's were read in vllm/v1/metrics/loggers.py and vllm/v1/spec_decode/metrics.py; of
sglang/srt/observability/metrics_collector.py and tensorrt_llm/metrics/collector.py only parts could
be read. llama.cpp's and those of Dynamo (frontend, and its simulated engines) are from their pages.
An engine fills the panels for which it has a series; the others say "No data".
"""

from __future__ import annotations

from exporters.grafana.now import CHOICES, ENGINE_CHOICES, LEVELS, NOW
from exporters.grafana.panels import (
    TPM_UNIT,
    TPS_UNIT,
    Dashboard,
    Objective,
    Panel,
    Query,
    Row,
)
from exporters.grafana.promql import (
    ENGINE,
    IDEAL_HIT_SHARE,
    INSTANCE,
    REPORTED_HIT_SHARE,
    first_of,
    gauge,
    objective,
    quantile,
    quantiles,
    rate,
    tpm,
)

_SPEED = f"max by (instance) (sim:speed{{{ENGINE}}})"
# TensorRT-LLM serves its series as trtllm_*; behind Dynamo some versions have trtllm:*.
_NAMES = ("vllm:{}", "sglang:{}", "trtllm_{}", "trtllm:{}")


def _rate(counter: str, where: str = "") -> str:
    return rate(counter, f"{ENGINE},{where}" if where else ENGINE, INSTANCE)


def _share(part: str, whole: str) -> str:
    return f"{part} / ({whole} > 0)"


def _everywhere(counter: str) -> tuple[str, ...]:
    """Rates of a counter that several engines have, under their prefixes, per second of the run's
    clock: the embedded engine, which has vLLM's names, counts on the wall clock as well."""
    embedded = f"{_rate(_NAMES[0].format(counter))} / on (instance) {_SPEED}"
    return (embedded, *(_rate(name.format(counter)) for name in _NAMES))


def _gauge(aggregate: str, *names: str) -> str:
    return first_of(*(f"{aggregate} by (instance) ({name}{{{ENGINE}}})" for name in names))


# llama.cpp counts the prompt tokens that it prefills, and those that it finds, apart.
_LLAMA_CACHED = _rate("llamacpp:prompt_tokens_cached_total")
_LLAMA_PROMPT = f"({_rate('llamacpp:prompt_tokens_total')} + {_LLAMA_CACHED})"
_DYNAMO_PROMPT = _rate("dynamo_frontend_input_sequence_tokens_sum")
_PROMPT = first_of(*_everywhere("prompt_tokens_total"), _LLAMA_PROMPT, _DYNAMO_PROMPT)
_OUTPUT_TOKENS = first_of(
    *_everywhere("generation_tokens_total"),
    _rate("llamacpp:tokens_predicted_total"),
    _rate("dynamo_frontend_output_sequence_tokens_sum"),
)
_TTFT_P50 = first_of(
    *(
        quantile(0.5, name.format("time_to_first_token_seconds"), ENGINE, INSTANCE)
        for name in (*_NAMES, "dynamo_frontend_{}")
    )
)
# One of SGLang's sources is the total of the others, in versions that have it.
_SGLANG_CACHED = "({} or {})".format(
    *(_rate("sglang:cached_tokens_total", f'cache_source{op}"total"') for op in ("=", "!="))
)
_HIT_SHARE = first_of(
    _share(_rate("vllm:prefix_cache_hits_total"), _rate("vllm:prefix_cache_queries_total")),
    _share(_SGLANG_CACHED, _rate("sglang:prompt_tokens_total")),
    _gauge("avg", "sglang:cache_hit_rate"),
    _share(_rate("trtllm_prompt_cached_tokens_total"), _rate("trtllm_prompt_tokens_total")),
    _gauge("avg", "trtllm_kv_cache_hit_rate", "trtllm:kv_cache_hit_rate"),
    _share(_LLAMA_CACHED, _LLAMA_PROMPT),
    _share(_rate("dynamo_frontend_cached_tokens_sum"), _DYNAMO_PROMPT),
)
_PREEMPTIONS = first_of(
    f"{_rate('vllm:num_preemptions_total')} / on (instance) {_SPEED}",
    _rate("vllm:num_preemptions_total"),
    _rate("sglang:num_retracted_requests_total"),
    _rate("trtllm:num_preemptions_total"),
)
_PAUSED = _gauge("sum", "trtllm_num_paused_requests")


def _accepted(prefix: str) -> str:
    return _share(
        _rate(f"{prefix}spec_decode_num_accepted_tokens_total"),
        _rate(f"{prefix}spec_decode_num_draft_tokens_total"),
    )


_ACCEPTANCE = first_of(
    _accepted("vllm:"),
    _gauge("avg", "sglang:spec_accept_rate"),
    _accepted("trtllm_"),
    _accepted("llamacpp:"),
)
# Position 0 is the first draft token of a step.
_ACCEPTED = f"vllm:spec_decode_num_accepted_tokens_per_pos_total{{{ENGINE}}}"
_ACCEPTANCE_BY_POSITION = (
    f"sum by (position, instance) (rate({_ACCEPTED}[$window])) / on (instance) group_left () "
    f"({_rate('vllm:spec_decode_num_drafts_total')} > 0)"
)

_SIDE_BY_SIDE = Row(
    title="The engine's word beside the clients'",
    height=9,
    panels=(
        Panel(
            title="TTFT p50",
            description="The engine's own, from arrival to first token, and what clients saw, "
            "which adds network and HTTP. Engines have few buckets: theirs is coarse. llama.cpp "
            "has none. Dashed: the objective of the run (--slo).",
            queries=(
                Query(expr=_TTFT_P50, legend="engine {{instance}}"),
                Query(expr=quantile(0.5, "tokenswarm_ttft_seconds"), legend="clients {{target}}"),
            ),
            unit="s",
            objective=Objective(expr=objective("ttft", 50)),
            logarithmic=True,
            span=8,
        ),
        Panel(
            title="Input tokens per minute",
            description="Prompt tokens that the engine counts, and those of turns answered. The "
            "engine counts when it prefills, the clients at the end of an answer. More on the "
            "engine's side for long: others use it too.",
            queries=(
                Query(expr=f"({_PROMPT}) * 60", legend="engine {{instance}}"),
                Query(
                    expr=tpm("tokenswarm_answered_prompt_tokens_total"),
                    legend="clients {{target}}",
                ),
            ),
            unit=TPM_UNIT,
            span=8,
        ),
        Panel(
            title="Prefix cache hits",
            description="The engine's share of prompt tokens found in its cache, what it told the "
            "clients, and what an endless cache would have held.",
            queries=(
                Query(expr=_HIT_SHARE, legend="engine {{instance}}"),
                Query(expr=REPORTED_HIT_SHARE, legend="clients {{target}}"),
                Query(expr=IDEAL_HIT_SHARE, legend="ideal {{target}}"),
            ),
            unit="percentunit",
            at_most=1,
            span=8,
        ),
    ),
)


_INSIDE = Row(
    title="Inside the engine",
    panels=(
        Panel(
            title="KV cache in use",
            description="Share of the KV pool. Near 1 requests wait or are preempted. vLLM "
            "kv_cache_usage_perc (gpu_cache_usage_perc before 0.9), SGLang token_usage, "
            "TensorRT-LLM kv_cache_utilization. llama.cpp and Dynamo's frontend have none.",
            queries=(
                Query(
                    expr=_gauge(
                        "avg",
                        "vllm:kv_cache_usage_perc",
                        "vllm:gpu_cache_usage_perc",
                        "sglang:token_usage",
                        "trtllm_kv_cache_utilization",
                        "trtllm:kv_cache_utilization",
                        "trtllm:kv_cache_usage_perc",
                    ),
                    legend="{{instance}}",
                ),
            ),
            unit="percentunit",
            at_most=1,
            span=6,
        ),
        Panel(
            title="Requests",
            description="In prefill or decode, and waiting, beside the turns that clients have in "
            "flight. Dynamo's frontend counts a request as running from its arrival on, and as "
            "waiting until its first token.",
            queries=(
                Query(
                    expr=_gauge(
                        "sum",
                        "vllm:num_requests_running",
                        "sglang:num_running_reqs",
                        "trtllm_num_requests_running",
                        "trtllm:num_requests_running",
                        "llamacpp:requests_processing",
                        "dynamo_frontend_inflight_requests",
                    ),
                    legend="running {{instance}}",
                ),
                Query(
                    expr=_gauge(
                        "sum",
                        "vllm:num_requests_waiting",
                        "sglang:num_queue_reqs",
                        "trtllm_num_requests_waiting",
                        "trtllm:num_requests_waiting",
                        "llamacpp:requests_deferred",
                        "dynamo_frontend_queued_requests",
                    ),
                    legend="waiting {{instance}}",
                ),
                Query(expr=gauge("tokenswarm_in_flight_turns"), legend="clients {{target}}"),
            ),
            unit="short",
            span=6,
        ),
        Panel(
            title="Preemptions",
            description="Requests put back to the queue for want of KV memory, per minute: vLLM "
            "preemptions, SGLang retractions. TensorRT-LLM has no such counter; shown for it are "
            "the requests that are paused now.",
            queries=(Query(expr=f"({_PREEMPTIONS}) * 60 or {_PAUSED}", legend="{{instance}}"),),
            unit="short",
            span=6,
        ),
        Panel(
            title="Acceptance",
            description="Speculative decoding: draft tokens accepted, of those proposed, and how "
            "often the first, the second, … was (vLLM). No data where the engine does not "
            "speculate. SGLang reports its latest batch.",
            queries=(
                Query(
                    expr=_ACCEPTANCE,
                    legend="accepted / proposed {{instance}}",
                ),
                Query(expr=_ACCEPTANCE_BY_POSITION, legend="draft {{position}} {{instance}}"),
            ),
            unit="percentunit",
            at_most=1,
            span=6,
        ),
    ),
)

_OUTPUT = Row(
    title="Output",
    panels=(
        Panel(
            title="Output tokens per second",
            description="That the engine counts, and of turns answered, per second of the run's "
            "clock.",
            queries=(
                Query(expr=_OUTPUT_TOKENS, legend="engine {{instance}}"),
                Query(
                    expr=f"{tpm('tokenswarm_output_tokens_total')} / 60",
                    legend="clients {{target}}",
                ),
            ),
            unit=TPS_UNIT,
            span=12,
        ),
        Panel(
            title="TPS per user",
            description="As clients see it, p50: it falls as the batch grows.",
            queries=quantiles("tokenswarm_decode_tokens_per_second", 0.5),
            unit=TPS_UNIT,
            span=12,
        ),
    ),
)

ENGINE_VIEW = Dashboard(
    uid="tokenswarm-engine",
    title="tokenswarm: engine",
    description="The engine's own /metrics beside what its clients saw.",
    variables=(*CHOICES, *ENGINE_CHOICES),
    annotations=(LEVELS,),
    rows=(NOW, _SIDE_BY_SIDE, _INSIDE, _OUTPUT),
)
