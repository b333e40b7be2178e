"""/metrics: the engine under vLLM's metric names, so that tools written for vLLM read it.

Names and meanings are those of vLLM's `v1/metrics/loggers.py`, read in 2026; what vLLM has and
this engine does not simulate (LoRA, multi-modal cache, transfers between engines) is left out.
Times are engine seconds, except the lateness, which is wall seconds. Every sample carries
target="simulated"; with several replicas, replica="0", "1", ... as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from tokenswarm.engine.core.engine import Engine
from tokenswarm.engine.core.fleet import Fleet
from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.server.histogram import Histogram
from tokenswarm.engine.server.live import LiveEngine, Stream

# From 0.1 s to minutes: the client library's defaults end at 10 s, a cold 200k prompt takes 15 s.
TTFT_BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 40, 80, 160, 640)
# vLLM's request buckets, with finer ones below 0.3 s and none beyond the hour.
_LATENCY_BUCKETS_S = (
    *(0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60),
    *(120, 240, 480, 960, 1920),
)
# A decode step takes 10 to 100 ms here and a prefill chunk up to 0.4 s.
_GAP_BUCKETS_S = (
    *(0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15),
    *(0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 10, 20, 80),
)
_ITERATION_BUCKETS = tuple(2**power for power in (0, *range(3, 19)))  # vLLM's end at 16,384
_TOKEN_BUCKETS = tuple(step * 10**power for power in range(6) for step in (1, 2, 5))  # vLLM's
# The limit is 5 ms at speed 20.
_LATENESS_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

_GAUGE_S = 60.0  # of wall time, behind the lateness gauges
_LABELS = ("model_name", "engine", "target")


class ReplicaStatistics:
    """What passes at one replica."""

    def __init__(self) -> None:
        self.succeeded: Counter[str] = Counter()  # by finish reason
        self.ttft_s = Histogram(TTFT_BUCKETS_S)
        self.gap_s = Histogram(_GAP_BUCKETS_S)
        self.tpot_s = Histogram(_GAP_BUCKETS_S)
        self.e2e_s = Histogram(_LATENCY_BUCKETS_S)
        self.queued_s = Histogram(_LATENCY_BUCKETS_S)
        self.prefill_s = Histogram(_LATENCY_BUCKETS_S)
        self.decode_s = Histogram(_LATENCY_BUCKETS_S)
        self.inference_s = Histogram(_LATENCY_BUCKETS_S)
        self.prompt_tokens = Histogram(_TOKEN_BUCKETS)
        self.output_tokens = Histogram(_TOKEN_BUCKETS)
        self.iteration_tokens = Histogram(_ITERATION_BUCKETS)
        self.late_s = Histogram(_LATENESS_BUCKETS_S)

    def finished(self, stream: Stream) -> None:
        sequence, ended_at_s = stream.sequence, stream.last_token_at_s
        admitted_at_s, first_at_s = sequence.admitted_at_s, sequence.first_token_at_s
        if ended_at_s is None or admitted_at_s is None or first_at_s is None:
            raise ValueError(f"sequence {sequence.id} finished before it began")
        decode_s = ended_at_s - first_at_s
        self.succeeded[stream.finish_reason] += 1
        self.e2e_s.observe(ended_at_s - sequence.arrived_at_s)
        self.queued_s.observe(admitted_at_s - sequence.ready_at_s)
        self.prefill_s.observe(first_at_s - admitted_at_s)
        self.decode_s.observe(decode_s)
        self.inference_s.observe(ended_at_s - admitted_at_s)
        self.prompt_tokens.observe(sequence.prompt_tokens)
        self.output_tokens.observe(sequence.output_tokens)
        if sequence.output_tokens > 1:
            self.tpot_s.observe(decode_s / (sequence.output_tokens - 1))

    def histograms(self) -> Iterator[tuple[str, str, Histogram]]:
        yield "vllm:time_to_first_token_seconds", "Arrival to the first token.", self.ttft_s
        yield (
            "vllm:inter_token_latency_seconds",
            "Between two engine steps that brought tokens of one request; with drafts a step "
            "brings several.",
            self.gap_s,
        )
        yield (
            "vllm:request_time_per_output_token_seconds",
            "Per request: first to last token / (tokens - 1).",
            self.tpot_s,
        )
        yield "vllm:e2e_request_latency_seconds", "Arrival to the last token.", self.e2e_s
        yield "vllm:request_queue_time_seconds", "In the queue, first time.", self.queued_s
        yield "vllm:request_prefill_time_seconds", "Admission to first token.", self.prefill_s
        yield "vllm:request_decode_time_seconds", "First to last token.", self.decode_s
        yield "vllm:request_inference_time_seconds", "Admission to end.", self.inference_s
        yield "vllm:request_prompt_tokens", "Prompt tokens of a request.", self.prompt_tokens
        yield "vllm:request_generation_tokens", "Output tokens of a request.", self.output_tokens
        yield (
            "vllm:iteration_tokens_total",
            "Tokens of an engine step with output: its output, and whole prompts that it finished.",
            self.iteration_tokens,
        )
        yield (
            "sim:step_lateness_seconds",
            "Wall seconds after its deadline at which a step's last chunk was written.",
            self.late_s,
        )


# The values of its labels, what passed there, and the engine.
_Shown = tuple[tuple[str, ...], ReplicaStatistics, Engine]


class EngineMetrics(Collector):
    """Reads the live fleet when scraped; only what passes is counted as it goes (`Observer`)."""

    def __init__(self, model: str, engine_name: str, replicas: int = 1) -> None:
        self._registry = CollectorRegistry()
        self._live: LiveEngine | None = None
        self._fleet: Callable[[], Fleet] | None = None
        self._statistics = [ReplicaStatistics() for _ in range(replicas)]
        values = (model, engine_name, "simulated")
        several = replicas > 1
        self._labels = (*_LABELS, "replica") if several else _LABELS
        self._values = [(*values, str(n)) if several else values for n in range(replicas)]
        self._shown = range(replicas)

    def attach(self, live: LiveEngine, fleet: Callable[[], Fleet]) -> None:
        """fleet: the one that serves at the moment; in driven time a run has one of its own."""
        self._live, self._fleet = live, fleet
        self._registry.register(self)

    def first_token(self, replica: int, ttft_s: float) -> None:
        self._statistics[replica].ttft_s.observe(ttft_s)

    def gap(self, replica: int, gap_s: float) -> None:
        self._statistics[replica].gap_s.observe(gap_s)

    def iteration(self, replica: int, num_tokens: int) -> None:
        self._statistics[replica].iteration_tokens.observe(num_tokens)

    def step_late(self, replica: int, late_s: float) -> None:
        self._statistics[replica].late_s.observe(late_s)

    def finished(self, stream: Stream) -> None:
        self._statistics[stream.sequence.replica].finished(stream)

    def reset(self) -> None:
        self._statistics = [ReplicaStatistics() for _ in self._statistics]

    def exposition(self, replica: int | None = None) -> bytes:
        """Of all replicas, or of one."""
        everyone = range(len(self._statistics))
        self._shown = everyone if replica is None else range(replica, replica + 1)
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        if self._live is None or self._fleet is None:
            return
        engines = self._fleet().replicas
        shown = [(self._values[n], self._statistics[n], engines[n]) for n in self._shown]
        gauges = [_gauges(self._live, engine) for _, _, engine in shown]
        yield from self._families(GaugeMetricFamily, shown, gauges)
        counters = [_counters(engine) for _, _, engine in shown]
        yield from self._families(CounterMetricFamily, shown, counters)
        for each in zip(*(seen.histograms() for _, seen, _ in shown), strict=True):
            histogram = HistogramMetricFamily(each[0][0], each[0][1], labels=self._labels)
            for (values, _, _), (_, _, observed) in zip(shown, each, strict=True):
                histogram.add_metric(values, observed.buckets(), observed.total)
            yield histogram
        yield from self._labelled(shown)

    def _families(
        self,
        kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
        shown: Sequence[_Shown],
        of_each: Sequence[Iterable[tuple[str, str, float]]],
    ) -> Iterator[Metric]:
        """of_each: names, texts and values, for each that is shown the same names."""
        for same in zip(*of_each, strict=True):
            family = kind(same[0][0], same[0][1], labels=self._labels)
            for (values, _, _), (_, _, value) in zip(shown, same, strict=True):
                family.add_metric(values, value)
            yield family

    def _labelled(self, shown: Sequence[_Shown]) -> Iterator[Metric]:
        """Those with a label of their own."""
        text = "Requests that ended, by reason; abort: the client went away."
        ended = CounterMetricFamily(
            "vllm:request_success", text, labels=(*self._labels, "finished_reason")
        )
        accepted = CounterMetricFamily(
            "vllm:spec_decode_num_accepted_tokens_per_pos",
            "Drafts accepted, by their position from 0 on.",
            labels=(*self._labels, "position"),
        )
        pool = GaugeMetricFamily(
            "vllm:cache_config_info",
            "The KV pool. Always 1.",
            labels=(*self._labels, "block_size", "num_gpu_blocks"),
        )
        for values, seen, engine in shown:
            reasons = {**seen.succeeded, "abort": engine.counters.num_cancelled}
            for reason in ("stop", "length", "abort"):
                ended.add_metric((*values, reason), reasons.get(reason, 0))
            for position, count in enumerate(engine.counters.accepted_by_position):
                accepted.add_metric((*values, str(position)), count)
            pool.add_metric((*values, str(BLOCK_TOKENS), str(engine.cache.capacity)), 1)
        yield from (ended, accepted, pool)


def _gauges(live: LiveEngine, engine: Engine) -> Iterator[tuple[str, str, float]]:
    scheduler = engine.scheduler
    yield "vllm:num_requests_running", "Sequences in prefill or decode.", scheduler.num_running
    yield "vllm:num_requests_waiting", "Sequences in the queue.", len(scheduler.waiting)
    yield (
        "vllm:kv_cache_usage_perc",
        "KV blocks held by sequences, 0 to 1.",
        engine.cache.usage,
    )
    if (host := engine.cache.host) is not None:
        share = host.used / host.capacity
        yield "sim:host_kv_usage_perc", "Blocks in use of the host-memory tier, 0 to 1.", share
    yield "sim:speed", "Engine seconds per wall second.", live.clock.speed
    nan = float("nan")  # nothing observed
    for name, lateness in (("step", live.step_lateness), ("arrival", live.arrival_lateness)):
        p99_s = lateness.p99_s(_GAUGE_S)
        text = f"{name.capitalize()} lateness of the simulation, wall seconds, p99 of a minute."
        yield f"sim:{name}_lateness_p99_seconds", text, nan if p99_s is None else p99_s


def _counters(engine: Engine) -> Iterator[tuple[str, str, float]]:
    """Names without `_total`, which the exposition adds."""
    counters = engine.counters
    preemptions = engine.scheduler.num_preemptions
    loaded = engine.scheduler.num_loaded_tokens
    yield "sim:host_kv_loaded_tokens", "Tokens of hits brought back from host memory.", loaded
    yield "vllm:num_preemptions", "Preemptions by recomputation.", preemptions
    yield "vllm:prefix_cache_queries", "Prompt tokens looked up.", counters.prefix_queries
    yield "vllm:prefix_cache_hits", "Prompt tokens found, host tier included.", counters.prefix_hits
    yield "vllm:prompt_tokens", "Prompt tokens prefilled, hits included.", counters.prompt_tokens
    yield "vllm:generation_tokens", "Output tokens.", counters.generation_tokens
    yield "vllm:spec_decode_num_drafts", "Verifications of a sequence.", counters.num_drafts
    yield "vllm:spec_decode_num_draft_tokens", "Draft tokens verified.", counters.draft_tokens
    yield "vllm:spec_decode_num_accepted_tokens", "Drafts accepted.", counters.accepted_tokens
    yield "sim:requests_finished", "Requests answered in full.", counters.num_finished
    yield "sim:requests_cancelled", "Requests whose client went away.", counters.num_cancelled
    yield "sim:engine_steps", "Engine steps.", counters.num_steps
    yield "sim:engine_busy_seconds", "Engine seconds spent in steps.", counters.busy_s
