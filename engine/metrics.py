"""/metrics: the engine under vLLM's metric names, so that tools written for vLLM read it.

Times are engine seconds, except the lateness gauges, which are wall seconds. Every sample carries
target="simulated".
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.live import LiveEngine
from engine.sequence import Sequence

# From 0.1 s to minutes: the client library's defaults end at 10 s, a cold 200k prompt takes 15 s.
TTFT_BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 40, 80, 160, 640)
_LABELS = ("model_name", "engine", "target")


class EngineMetrics(Collector):
    """Reads the live engine when scraped; only the TTFT histogram is fed as it goes."""

    def __init__(self, model: str, engine_name: str) -> None:
        self._registry = CollectorRegistry()
        self._values = (model, engine_name, "simulated")
        self._ttft = Histogram(
            "vllm:time_to_first_token_seconds",
            "Engine seconds from arrival to the first token.",
            _LABELS,
            buckets=TTFT_BUCKETS_S,
            registry=self._registry,
        )
        self._live: LiveEngine | None = None

    def attach(self, live: LiveEngine) -> None:
        self._live = live
        self._registry.register(self)

    def observe_first_token(self, sequence: Sequence) -> None:
        if sequence.first_token_at_s is not None:
            ttft_s = sequence.first_token_at_s - sequence.arrived_at_s
            self._ttft.labels(*self._values).observe(ttft_s)

    def reset(self) -> None:
        self._ttft.clear()

    def exposition(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        if self._live is None:
            return
        for name, text, value in _gauges(self._live):
            gauge = GaugeMetricFamily(name, text, labels=_LABELS)
            gauge.add_metric(self._values, value)
            yield gauge
        for name, text, total in _counters(self._live):
            counter = CounterMetricFamily(name, text, labels=_LABELS)
            counter.add_metric(self._values, total)
            yield counter


def _gauges(live: LiveEngine) -> Iterator[tuple[str, str, float]]:
    scheduler = live.engine.scheduler
    yield "vllm:num_requests_running", "Sequences in prefill or decode.", scheduler.num_running
    yield "vllm:num_requests_waiting", "Sequences in the queue.", len(scheduler.waiting)
    yield (
        "vllm:kv_cache_usage_perc",
        "KV blocks held by sequences, 0 to 1.",
        live.engine.cache.usage,
    )
    nan = float("nan")  # nothing observed yet
    for name, lateness in (("step", live.step_lateness), ("arrival", live.arrival_lateness)):
        p99_s = lateness.p99_s()
        text = f"{name.capitalize()} lateness of the simulation, wall seconds, p99 of the latest."
        yield f"sim:{name}_lateness_p99_seconds", text, nan if p99_s is None else p99_s


def _counters(live: LiveEngine) -> Iterator[tuple[str, str, float]]:
    """Names without `_total`, which the exposition adds."""
    counters = live.engine.counters
    preemptions = live.engine.scheduler.num_preemptions
    yield "vllm:num_preemptions", "Preemptions by recomputation.", preemptions
    yield "vllm:prefix_cache_queries", "Prompt tokens looked up.", counters.prefix_queries
    yield "vllm:prefix_cache_hits", "Prompt tokens found.", counters.prefix_hits
    yield "vllm:prompt_tokens", "Prompt tokens prefilled, hits included.", counters.prompt_tokens
    yield "vllm:generation_tokens", "Output tokens.", counters.generation_tokens
    yield "vllm:spec_decode_num_draft_tokens", "Draft tokens verified.", counters.draft_tokens
    yield "vllm:spec_decode_num_accepted_tokens", "Drafts accepted.", counters.accepted_tokens
    yield "sim:requests_finished", "Requests answered in full.", counters.num_finished
    yield "sim:requests_cancelled", "Requests whose client went away.", counters.num_cancelled
    yield "sim:engine_steps", "Engine steps.", counters.num_steps
    yield "sim:engine_busy_seconds", "Engine seconds spent in steps.", counters.busy_s
