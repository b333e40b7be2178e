"""The servers' counts: read by each engine's names, grown over a window, held against ours."""

from contextlib import closing
from dataclasses import replace

import pytest

from tests.support.records import failed_record, turn_record
from tokenswarm.measure.books import (
    BALANCED,
    EXPLAINED,
    FLAGGED,
    Reading,
    SeriesWriter,
    read_page,
    read_series,
    reconcile,
)

VLLM = """\
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 24442.0
vllm:prompt_tokens_created{engine="0",model_name="tiny"} 1.7e+09
vllm:prompt_tokens_cached_total{engine="0",model_name="tiny"} 14976.0
vllm:prefix_cache_hits_total{engine="0",model_name="tiny"} 14000.0
vllm:generation_tokens_total{engine="0",model_name="tiny"} 800.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="tiny"} 3.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="tiny"} 9.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="tiny"} 6.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="tiny"} 12.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="tiny"} 12.0
"""
SGLANG = """\
sglang:prompt_tokens_total{is_streaming="true"} 100.0
sglang:prompt_tokens_total{is_streaming="false"} 50.0
sglang:cached_tokens_total{cache_source="device"} 30.0
sglang:cached_tokens_total{cache_source="host"} 10.0
sglang:cached_tokens_total{cache_source="total"} 40.0
sglang:generation_tokens_total 7.0
"""
LLAMA = """\
llamacpp:prompt_tokens_total 13750
llamacpp:prompt_tokens_cached_total 19699
llamacpp:tokens_predicted_total 674
"""
TRTLLM = 'trtllm_prompt_tokens_total{model_name="m"} 10\ntrtllm_prompt_cached_tokens_total 4\n'


@pytest.mark.parametrize(
    ("text", "engine", "prompt", "cached", "generated", "requests"),
    [
        (VLLM, "vLLM", 24442, 14976, 800, 12),
        (SGLANG, "SGLang", 150, 40, 7, None),  # its source "total" is the others' sum
        (LLAMA, "llama.cpp", 33449, 19699, 674, None),  # its prompt tokens exclude cached ones
        (TRTLLM, "TensorRT-LLM", 10, 4, None, None),
    ],
)
def test_a_page_is_read_by_its_engines_names(text, engine, prompt, cached, generated, requests):
    page = read_page(text)
    assert page.engine == engine
    counted = ("prompt_tokens", "cached_tokens", "generated_tokens", "requests")
    assert [page.values[name] for name in counted] == [prompt, cached, generated, requests]


def test_a_name_of_an_older_version_stands_in():
    older = "\n".join(line for line in VLLM.splitlines() if "prompt_tokens_cached" not in line)
    assert read_page(older).values["cached_tokens"] == 14000


def test_an_older_llama_cpp_without_cached_tokens_has_no_prompt_tokens_to_compare():
    assert (
        read_page("llamacpp:prompt_tokens_total 5\nllamacpp:tokens_predicted_total 1\n").values[
            "prompt_tokens"
        ]
        is None
    )


def test_a_page_of_something_else_is_none_and_a_broken_line_says_so():
    assert read_page("go_goroutines 7\n<html>not found</html>\n") is None
    with pytest.raises(ValueError):
        read_page("vllm:prompt_tokens_total{ 3\n")
    assert read_page("vllm:prompt_tokens_total NaN\n") is None


def reading(at_s, url="http://a", engine="vLLM", problem="", **values):
    names = {
        name: values.get(name)
        for name in ("prompt_tokens", "cached_tokens", "generated_tokens", "requests")
    } | {"ttft_sum_s": values.get("ttft_sum_s"), "ttft_count": values.get("ttft_count")}
    return Reading(url=url, at_s=at_s, engine=engine, values=names, problem=problem)


def counted(at_s, requests, *, url="http://a", tokens=1000, base=500):
    """A page that has counted so many turns of `turn_record` since it stood at `base`."""
    return reading(
        at_s,
        url,
        prompt_tokens=base + requests * tokens,
        cached_tokens=base + requests * 800,
        generated_tokens=base + requests * 100,
        requests=base + requests,
        ttft_sum_s=requests * 0.9,
        ttft_count=float(requests),
    )


TURNS = [turn_record(session=f"w0.u{n}.s0") for n in range(100)]  # sent at 10 s, ended at 13 s


def entries(records, readings):
    return {entry.quantity: entry for entry in reconcile(records, readings)}


def test_a_quiet_run_balances_whatever_the_counters_stood_at():
    books = entries(TURNS, [counted(0, 0), counted(20, 100)])
    for quantity in ("requests", "prompt tokens", "cached tokens", "generated tokens"):
        assert (books[quantity].state, books[quantity].residual) == (BALANCED, 0)
    assert books["prompt tokens"].server == 100_000
    ttft = books["TTFT mean, s"]
    assert (ttft.server, ttft.ours, ttft.state) == (pytest.approx(0.9), 1.0, None)
    assert "+0.100 s" in ttft.reason


def test_a_second_client_of_one_percent_is_noticed_and_named():
    books = entries(TURNS, [counted(0, 0), counted(20, 101)])
    assert books["requests"].state == books["prompt tokens"].state == FLAGGED
    assert "1 requests that this run did not send" in books["prompt tokens"].reason
    assert books["prompt tokens"].residual == pytest.approx(0.01)


def test_the_same_requests_with_other_tokens_are_the_pages_own_way_of_counting():
    books = entries(TURNS, [counted(0, 0), counted(20, 100, tokens=1100)])
    assert books["requests"].state == BALANCED
    assert books["prompt tokens"].state == FLAGGED
    assert "as many requests" in books["prompt tokens"].reason


def test_turns_that_ended_without_usage_explain_what_the_server_has_more():
    cut = [failed_record("stall_timeout", session=f"w0.cut{n}.s0") for n in range(5)]
    books = entries([*TURNS, *cut], [counted(0, 0), counted(20, 103)])
    assert books["prompt tokens"].state == EXPLAINED
    assert "5 turns ended without usage" in books["prompt tokens"].reason


def test_two_replicas_are_added_up_and_one_alone_is_flagged():
    a = [counted(0, 0), counted(20, 60)]
    b = [counted(0, 0, url="http://b"), counted(20, 40, url="http://b")]
    assert entries(TURNS, a + b)["prompt tokens"].state == BALANCED
    alone = entries(TURNS, a)["prompt tokens"]
    assert (alone.state, alone.residual) == (FLAGGED, pytest.approx(-0.4))
    assert "each replica" in alone.reason


def test_a_server_that_restarts_counts_on_from_zero():
    lossless = [counted(0, 0), counted(11, 40), counted(12, 0, base=0), counted(20, 60, base=0)]
    assert entries(TURNS, lossless)["prompt tokens"].state == BALANCED
    lossy = [counted(0, 0), counted(11, 20), counted(20, 60, base=0)]
    for readings in (lossy, [counted(0, 0), counted(11, 5), counted(20, 0, base=0)]):
        entry = entries(TURNS, readings)["prompt tokens"]
        assert (entry.state, entry.residual) == (None, None)  # how much was lost, nobody knows
        assert "restarted" in entry.reason


def test_a_restart_that_lost_less_than_is_tolerated_balances():
    readings = [counted(0, 0), counted(11, 40), counted(12, 0, base=0), counted(20, 60, base=0)]
    readings[1] = replace(readings[1], values=readings[1].values | {"prompt_tokens": 40_400.0})
    books = entries(TURNS, readings)
    assert (books["prompt tokens"].state, books["prompt tokens"].residual) == (
        BALANCED,
        pytest.approx(-0.001),
    )


def test_a_counter_that_one_reading_lacks_has_not_begun_anew():
    lacks = replace(counted(11, 50), values=counted(11, 50).values | {"prompt_tokens": None})
    books = entries(TURNS, [counted(0, 0), lacks, counted(20, 100)])
    assert (books["prompt tokens"].state, books["prompt tokens"].residual) == (BALANCED, 0)


def test_nothing_against_nothing_balances_no_books():
    silent = [turn_record(prompt_tokens=None, cached_tokens=None, output_tokens=None)]
    entry = entries(silent, [counted(0, 0), counted(20, 0)])["prompt tokens"]
    assert (entry.state, entry.reason) == (None, "neither counted any")


def test_pages_that_do_not_cover_the_run_are_not_held_against_it():
    hung = Reading(url="http://a", at_s=20, engine=None, values={}, problem="no answer")
    for readings, why in (
        ([hung], "no answer"),
        ([counted(11, 5), counted(20, 100)], "after the first turn"),
        ([counted(0, 0), counted(12, 90), hung], "before the last turn"),
    ):
        entry = entries(TURNS, readings)["prompt tokens"]
        assert (entry.state, entry.residual) == (None, None)
        assert why in entry.reason


def test_without_readings_or_turns_there_are_no_books():
    assert reconcile(TURNS, []) == () == reconcile([], [counted(0, 0)])


def test_the_series_is_read_back_and_a_torn_last_line_left_out(tmp_path):
    series = [counted(0, 0), counted(5, 1)]
    with closing(SeriesWriter(tmp_path)) as writer:
        for one in series:
            writer.write(one)
    assert read_series(tmp_path) == series
    with (tmp_path / "server.ndjson").open("ab") as file:
        file.write(b'{"url": "htt')
    assert read_series(tmp_path) == series
    assert read_series(tmp_path / "none") == []
