"""Dashboard: the engine's own /metrics beside what its clients saw.

The names are those of vLLM (and the embedded engine), SGLang and TensorRT-LLM (`trtllm-serve` at
/prometheus/metrics). vLLM's were read in vllm/v1/metrics/loggers.py and
vllm/v1/spec_decode/metrics.py; of sglang/srt/observability/metrics_collector.py and
tensorrt_llm/metrics/collector.py only parts could be read.
"""

from __future__ import annotations

from exporters.grafana.now import CHOICES, NOW, SLO_TTFT_S
from exporters.grafana.panels import Dashboard, Panel, Query, Row
from exporters.grafana.promql import (
    ENGINE,
    IDEAL_HIT_SHARE,
    REPORTED_HIT_SHARE,
    RUN,
    first_of,
    quantile,
    quantiles,
    rate,
    share,
    tpm,
)

_NAMES = ("vllm:{}", "sglang:{}", "trtllm_{}")


def _everywhere(counter: str) -> str:
    """Of a counter that all three engines have, under their prefixes, per second of the run's
    clock: the embedded engine's counters run on the wall clock as well."""
    rates = (rate(name.format(counter), ENGINE) for name in _NAMES)
    return f"({first_of(*rates)}) / {_SPEED}"


def _gauge(aggregate: str, *names: str) -> str:
    return f"{aggregate} by (instance) ({first_of(*(f'{name}{{{ENGINE}}}' for name in names))})"


_SPEED = f"(max(sim:speed{{{ENGINE}}}) or vector(1))"
_TTFT_P50 = first_of(
    *(quantile(0.5, name.format("time_to_first_token_seconds"), ENGINE) for name in _NAMES)
)
_HIT_SHARE = first_of(
    share("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total", ENGINE),
    share("sglang:cached_tokens_total", "sglang:prompt_tokens_total", ENGINE),
    share("trtllm_prompt_cached_tokens_total", "trtllm_prompt_tokens_total", ENGINE),
)
_PREEMPTIONS = first_of(
    rate("vllm:num_preemptions_total", ENGINE),
    rate("sglang:num_retracted_requests_total", ENGINE),
)
_PAUSED = f"trtllm_num_paused_requests{{{ENGINE}}}"
_ACCEPTANCE = first_of(
    share(
        "vllm:spec_decode_num_accepted_tokens_total",
        "vllm:spec_decode_num_draft_tokens_total",
        ENGINE,
    ),
    f"avg(sglang:spec_accept_rate{{{ENGINE}}})",
    share(
        "trtllm_spec_decode_num_accepted_tokens_total",
        "trtllm_spec_decode_num_draft_tokens_total",
        ENGINE,
    ),
)
# Position 0 is the first draft token of a step.
_ACCEPTED = f"vllm:spec_decode_num_accepted_tokens_per_pos_total{{{ENGINE}}}"
_ACCEPTANCE_BY_POSITION = (
    f"sum by (position) (rate({_ACCEPTED}[$window])) / on () group_left () "
    + rate("vllm:spec_decode_num_drafts_total", ENGINE)
)

_SIDE_BY_SIDE = Row(
    title="The engine's word beside the clients'",
    height=9,
    panels=(
        Panel(
            title="TTFT p50",
            description="The engine's own, from arrival to first token, and what clients saw, "
            "which adds network and HTTP. Engines have few buckets: theirs is coarse.",
            queries=(
                Query(expr=_TTFT_P50, legend="engine"),
                Query(expr=quantile(0.5, "tokenswarm_ttft_seconds"), legend="clients"),
            ),
            unit="s",
            limit=SLO_TTFT_S,
            logarithmic=True,
            span=8,
        ),
        Panel(
            title="Input tokens per minute",
            description="Prompt tokens that the engine counts, and those of turns answered. The "
            "engine counts when it prefills, the clients at the end of an answer. More on the "
            "engine's side for long: others use it too.",
            queries=(
                Query(
                    expr=f"{_everywhere('prompt_tokens_total')} * 60",
                    legend="engine",
                ),
                Query(expr=tpm("tokenswarm_answered_prompt_tokens_total"), legend="clients"),
            ),
            unit="short",
            span=8,
        ),
        Panel(
            title="Prefix cache hits",
            description="The engine's share of prompt tokens found in its cache, what it told the "
            "clients, and what an endless cache would have held.",
            queries=(
                Query(
                    expr=_HIT_SHARE,
                    legend="engine",
                ),
                Query(
                    expr=REPORTED_HIT_SHARE,
                    legend="clients",
                ),
                Query(
                    expr=IDEAL_HIT_SHARE,
                    legend="ideal",
                ),
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
            "TensorRT-LLM kv_cache_utilization.",
            queries=(
                Query(
                    expr=_gauge(
                        "avg",
                        "vllm:kv_cache_usage_perc",
                        "vllm:gpu_cache_usage_perc",
                        "sglang:token_usage",
                        "trtllm_kv_cache_utilization",
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
            "flight.",
            queries=(
                Query(
                    expr=_gauge(
                        "sum",
                        "vllm:num_requests_running",
                        "sglang:num_running_reqs",
                        "trtllm_num_requests_running",
                    ),
                    legend="running {{instance}}",
                ),
                Query(
                    expr=_gauge(
                        "sum",
                        "vllm:num_requests_waiting",
                        "sglang:num_queue_reqs",
                        "trtllm_num_requests_waiting",
                    ),
                    legend="waiting {{instance}}",
                ),
                Query(expr=f"sum(tokenswarm_in_flight_turns{{{RUN}}})", legend="clients"),
            ),
            unit="short",
            span=6,
        ),
        Panel(
            title="Preemptions",
            description="Requests put back to the queue for want of KV memory, per minute: vLLM "
            "preemptions, SGLang retractions. TensorRT-LLM has no such counter; shown for it are "
            "the requests that are paused now.",
            queries=(
                Query(
                    expr=f"({_PREEMPTIONS}) * 60 / {_SPEED} or sum({_PAUSED})",
                    legend="preempted",
                ),
            ),
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
                    legend="accepted / proposed",
                ),
                Query(expr=_ACCEPTANCE_BY_POSITION, legend="draft {{position}}"),
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
                Query(
                    expr=_everywhere("generation_tokens_total"),
                    legend="engine",
                ),
                Query(expr=f"{tpm('tokenswarm_output_tokens_total')} / 60", legend="clients"),
            ),
            unit="short",
            span=12,
        ),
        Panel(
            title="TPS per user",
            description="As clients see it, p50: it falls as the batch grows.",
            queries=quantiles("tokenswarm_decode_tokens_per_second", 0.5),
            unit="short",
            span=12,
        ),
    ),
)

ENGINE_VIEW = Dashboard(
    uid="tokenswarm-engine",
    title="tokenswarm: engine",
    description="The engine's own /metrics beside what its clients saw.",
    variables=CHOICES,
    rows=(NOW, _SIDE_BY_SIDE, _INSIDE, _OUTPUT),
)
