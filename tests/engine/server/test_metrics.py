"""The series of /metrics, checked against a request whose every time is known."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tokenswarm.engine.core.kv_cache import Segment
from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.engine.server.clock import VirtualClock
from tokenswarm.engine.server.live import LiveEngine
from tokenswarm.engine.server.metrics import EngineMetrics

PROMPT_TOKENS, OUTPUT_TOKENS = 20_000, 30
# What vLLM 0.11 and later expose under these names and this engine has a truth for.
VLLM_SERIES = {
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:cache_config_info",
    "vllm:num_preemptions",
    "vllm:prefix_cache_queries",
    "vllm:prefix_cache_hits",
    "vllm:prompt_tokens",
    "vllm:generation_tokens",
    "vllm:request_success",
    "vllm:spec_decode_num_drafts",
    "vllm:spec_decode_num_draft_tokens",
    "vllm:spec_decode_num_accepted_tokens",
    "vllm:spec_decode_num_accepted_tokens_per_pos",
    "vllm:iteration_tokens_total",
    "vllm:time_to_first_token_seconds",
    "vllm:inter_token_latency_seconds",
    "vllm:request_time_per_output_token_seconds",
    "vllm:e2e_request_latency_seconds",
    "vllm:request_queue_time_seconds",
    "vllm:request_prefill_time_seconds",
    "vllm:request_decode_time_seconds",
    "vllm:request_inference_time_seconds",
    "vllm:request_prompt_tokens",
    "vllm:request_generation_tokens",
}


def families(metrics: EngineMetrics) -> dict:
    text = metrics.exposition().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(metrics: EngineMetrics, sample: str, **labels: str) -> float:
    found = [
        one.value
        for family in families(metrics).values()
        for one in family.samples
        if one.name == sample and labels.items() <= one.labels.items()
    ]
    assert len(found) == 1, (sample, found)
    return found[0]


@pytest.fixture(scope="module")
def served() -> tuple[EngineMetrics, Sequence, Sequence]:
    """After one request that was answered and one whose client went away."""

    async def serve() -> tuple[EngineMetrics, Sequence, Sequence]:
        metrics = EngineMetrics("m", "sim:trtllm-like")
        live = LiveEngine(PRESETS["trtllm-like"].fleet(0), VirtualClock(100), metrics)
        metrics.attach(live, lambda: live.fleet)
        running = asyncio.create_task(live.run())
        whole = Sequence(id=1, prompt_tokens=PROMPT_TOKENS, output_tokens=OUTPUT_TOKENS)
        stream = live.submit(whole, live.clock.now_s(), "length")
        while not stream.finished:
            await stream.news()
        gone = Sequence(id=2, prompt_tokens=PROMPT_TOKENS, output_tokens=OUTPUT_TOKENS)
        live.cancel(live.submit(gone, live.clock.now_s(), "length"))
        await asyncio.sleep(0.01)
        running.cancel()
        return metrics, whole, gone

    return asyncio.run(serve())


def test_every_series_of_vllm_is_there_and_says_simulated(served):
    exposed = families(served[0])
    assert set(exposed) >= VLLM_SERIES
    for family in exposed.values():
        assert family.documentation
        for sample in family.samples:
            assert sample.labels["target"] == "simulated"
            assert sample.labels["model_name"] == "m"


def test_the_phases_of_a_request_add_up_to_its_latency(served):
    metrics, whole, _ = served

    def total(phase: str) -> float:
        assert value(metrics, f"vllm:{phase}_seconds_count") == 1
        return value(metrics, f"vllm:{phase}_seconds_sum")

    fixed_s = whole.ready_at_s - whole.arrived_at_s
    waited_s = fixed_s + total("request_queue_time")
    prefill_s, decode_s = total("request_prefill_time"), total("request_decode_time")
    assert total("time_to_first_token") == pytest.approx(waited_s + prefill_s)
    assert total("e2e_request_latency") == pytest.approx(waited_s + prefill_s + decode_s)
    assert total("request_inference_time") == pytest.approx(prefill_s + decode_s)
    per_token_s = total("request_time_per_output_token")
    assert per_token_s == pytest.approx(decode_s / (OUTPUT_TOKENS - 1))


def test_gaps_are_between_steps_and_add_up_to_the_decode_time(served):
    metrics, _, _ = served
    decode_s = value(metrics, "vllm:request_decode_time_seconds_sum")
    steps = value(metrics, "vllm:spec_decode_num_drafts_total")
    assert value(metrics, "vllm:inter_token_latency_seconds_sum") == pytest.approx(decode_s)
    assert value(metrics, "vllm:inter_token_latency_seconds_count") == steps
    assert (OUTPUT_TOKENS - 1) / 4 <= steps < OUTPUT_TOKENS - 1  # 1 to 4 tokens a step


def test_tokens_and_drafts_are_counted(served):
    metrics, _, _ = served
    drafts = value(metrics, "vllm:spec_decode_num_drafts_total")
    assert value(metrics, "vllm:spec_decode_num_draft_tokens_total") == 3 * drafts
    assert value(metrics, "vllm:request_prompt_tokens_sum") == PROMPT_TOKENS
    assert value(metrics, "vllm:request_generation_tokens_sum") == OUTPUT_TOKENS
    assert value(metrics, "vllm:generation_tokens_total") == OUTPUT_TOKENS


def test_accepted_drafts_add_up_over_positions_and_fall_along_them(served):
    metrics, _, _ = served
    name = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
    accepted = [value(metrics, name, position=str(k)) for k in range(3)]
    assert sum(accepted) == value(metrics, "vllm:spec_decode_num_accepted_tokens_total")
    assert accepted == sorted(accepted, reverse=True)
    assert accepted[0] <= value(metrics, "vllm:spec_decode_num_drafts_total")


def test_steps_with_output_count_their_tokens_and_a_prompt_when_its_prefill_ends(served):
    metrics, _, _ = served
    steps = value(metrics, "vllm:spec_decode_num_drafts_total") + 1
    assert value(metrics, "vllm:iteration_tokens_total_count") == steps
    tokens = value(metrics, "vllm:iteration_tokens_total_sum")
    assert tokens == PROMPT_TOKENS + OUTPUT_TOKENS


def test_the_host_tier_shows_what_it_holds_and_what_came_back():
    preset = replace(PRESETS["trtllm-like"], kv_tokens=2_048)
    fleet = preset.with_host_tier(64_000).fleet(0)
    (engine,) = fleet.replicas
    metrics = EngineMetrics("m", "e")
    metrics.attach(LiveEngine(fleet, VirtualClock(1), metrics), lambda: fleet)
    assert value(metrics, "sim:host_kv_usage_perc") == 0
    now_s = 0.0
    for i, name in enumerate("aba"):
        segments = (Segment(name, 30),)
        asked = Sequence(id=i, prompt_tokens=1_921, output_tokens=1, segments=segments)
        engine.submit(asked, now_s)
        while (start_s := engine.next_time(now_s)) is not None:
            now_s, _ = engine.step(start_s)
    loaded = value(metrics, "sim:host_kv_loaded_tokens_total")
    assert 0 < loaded <= value(metrics, "vllm:prefix_cache_hits_total") == 1_920
    assert 0 < value(metrics, "sim:host_kv_usage_perc") <= 30 * 64 / 64_000


def test_how_requests_ended_is_counted_by_reason(served):
    metrics, _, _ = served
    ended = {
        reason: value(metrics, "vllm:request_success_total", finished_reason=reason)
        for reason in ("stop", "length", "abort")
    }
    assert ended == {"stop": 0, "length": 1, "abort": 1}


def test_a_request_that_never_ran_has_no_times(served):
    metrics, _, gone = served
    assert gone.first_token_at_s is None
    assert value(metrics, "vllm:time_to_first_token_seconds_count") == 1


def test_every_step_with_output_has_a_lateness(served):
    metrics, _, _ = served
    steps = value(metrics, "vllm:spec_decode_num_drafts_total") + 1  # the prefill's last one
    assert value(metrics, "sim:step_lateness_seconds_count") == steps
    assert value(metrics, "sim:step_lateness_p99_seconds") >= 0
    assert value(metrics, "sim:speed") == 100


def test_reset_zeroes_what_was_counted():
    metrics = EngineMetrics("m", "e")
    live = LiveEngine(PRESETS["trtllm-like"].fleet(0), VirtualClock(1), metrics)
    metrics.attach(live, lambda: live.fleet)
    metrics.first_token(0, 1.0)
    metrics.step_late(0, 1.0)
    metrics.reset()
    assert value(metrics, "vllm:time_to_first_token_seconds_count") == 0
    assert value(metrics, "sim:step_lateness_seconds_sum") == 0
