"""The official OpenAI SDK against a real engine process. Nobody here wrote that client.

Speed 10. Counts and usage must agree exactly. Times are compared in engine seconds with the
engine's own histograms: the client can only be later than the engine, and a wall millisecond is
10 engine milliseconds, so the margins are one-sided and wide.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from statistics import median
from typing import Any, cast

import pytest
from openai import (
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OpenAI,
    RateLimitError,
)

from tokenswarm.commands.embedded_engine import engine

SPEED = 10
KEY = "a-key"
READ = {
    "type": "function",
    "function": {"name": "read", "parameters": {"type": "object", "properties": {"path": {}}}},
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with engine("--speed", str(SPEED), "--api-key", KEY, "--queue-limit", "30") as address:
        yield address


@pytest.fixture(scope="module")
def client(url) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=30) as client:
        yield client


def say(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def metric(url: str, name: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        text = response.read().decode()
    (value,) = re.findall(rf"^{re.escape(name)}{{.*}} (\S+)$", text, re.MULTILINE)
    return float(value)


def test_models_are_listed_and_shown(client):
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id).id == "sim-model"
    with pytest.raises(NotFoundError) as refused:
        client.models.retrieve("gpt-9")
    assert refused.value.code == "model_not_found"


def test_a_whole_answer_has_the_tokens_that_were_asked_for(client):
    answer = client.chat.completions.create(
        model="sim-model", messages=say("hello"), max_tokens=40, temperature=0.2, seed=7
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "length" and choice.message.content
    assert answer.usage.completion_tokens == 40
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 40


def test_a_stream_is_the_whole_answer_in_pieces(client):
    fields = {"model": "sim-model", "messages": say("the same"), "max_tokens": 60}
    whole = client.chat.completions.create(**fields)
    stream = client.chat.completions.create(
        **fields, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = stream
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "length"
    assert last.choices == []
    assert last.usage.completion_tokens == whole.usage.completion_tokens == 60
    assert last.usage.prompt_tokens == whole.usage.prompt_tokens


def test_a_tool_loop_hits_the_cache_with_what_it_sends_back(client):
    """As an agent does it: the SDK's own message objects go back into the history."""
    messages: list = say("read the file " + "with great care " * 200)
    cached, prompts = [], []
    for turn in range(3):
        answer = client.chat.completions.create(
            model="sim-model",
            messages=messages,
            tools=[READ],
            tool_choice="required",
            max_tokens=300,
        )
        cached.append(answer.usage.prompt_tokens_details.cached_tokens)
        prompts.append(answer.usage.prompt_tokens)
        choice = answer.choices[0]
        assert choice.finish_reason == "tool_calls"
        (call,) = choice.message.tool_calls
        assert call.function.name == "read" and json.loads(call.function.arguments)
        messages.append(choice.message)
        result = {"role": "tool", "tool_call_id": call.id, "content": f"line {turn} " * 200}
        messages.append(result)
    assert cached[0] == 0
    for before, hit in zip(prompts, cached[1:], strict=False):
        assert hit > before  # the prompt before and most of the answer to it


def test_the_sdk_assembles_a_streamed_tool_call(client):
    with client.chat.completions.stream(
        model="sim-model", messages=say("go"), tools=[READ], tool_choice="required", max_tokens=50
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    (call,) = message.tool_calls
    assert call.function.name == "read"
    assert json.loads(call.function.arguments)["path"]


def test_reasoning_comes_first_and_is_counted(client):
    stream = client.chat.completions.create(
        model="sim-model",
        messages=say("think"),
        max_completion_tokens=100,
        reasoning_effort="medium",
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = stream
    deltas = [chunk.choices[0].delta for chunk in chunks]
    thought = [getattr(delta, "reasoning_content", None) for delta in deltas]
    spoke = [index for index, delta in enumerate(deltas) if delta.content]
    assert any(thought) and max(i for i, text in enumerate(thought) if text) <= min(spoke)
    assert last.usage.completion_tokens_details.reasoning_tokens == 50


def test_responses_in_a_tool_loop_hit_the_cache_with_what_they_send_back(client):
    function = cast(dict[str, Any], READ["function"])
    tool = cast(Any, {"type": "function", "strict": False, **function})
    items: list = say("read the file " + "with great care " * 200)
    cached, prompts = [], []
    for turn in range(3):
        response = client.responses.create(
            model="sim-model",
            instructions="Be brief.",
            input=items,
            tools=[tool],
            tool_choice="required",
            max_output_tokens=300,
            store=False,
        )
        assert response.status == "completed"
        assert response.usage.output_tokens == 300
        cached.append(response.usage.input_tokens_details.cached_tokens)
        prompts.append(response.usage.input_tokens)
        (call,) = [item for item in response.output if item.type == "function_call"]
        assert json.loads(call.arguments)
        items += [item.model_dump(exclude_none=True) for item in response.output]
        result = {"type": "function_call_output", "call_id": call.call_id}
        items.append({**result, "output": f"line {turn} " * 200})
    assert cached[0] == 0
    for before, hit in zip(prompts, cached[1:], strict=False):
        assert hit > before  # the prompt before and most of the answer to it


def test_the_sdk_assembles_a_streamed_response(client):
    with client.responses.stream(
        model="sim-model", input="think", max_output_tokens=None
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text
    assert final.usage.output_tokens == 256  # nothing was asked for


def test_a_response_cannot_go_on_from_one_that_nobody_stored(client):
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(model="sim-model", input="on", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"n": 2}, BadRequestError, "n"),
        ({"logprobs": True}, BadRequestError, "logprobs"),
        ({"max_tokens": 0}, BadRequestError, "max_tokens"),
        ({"max_tokens": 10**12}, BadRequestError, "max_tokens"),
        ({"response_format": {"type": "json_object"}}, BadRequestError, "response_format"),
        ({"model": "gpt-9"}, NotFoundError, "model"),
        ({"messages": []}, BadRequestError, "messages"),
    ],
)
def test_refusals_are_the_sdks_own_errors(client, fields, kind, param):
    with pytest.raises(kind) as refused:
        client.chat.completions.create(
            **{"model": "sim-model", "messages": say("hi"), "max_tokens": 1, **fields}
        )
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"


def test_a_wrong_key_is_an_authentication_error(url):
    stranger = OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0)
    with stranger, pytest.raises(AuthenticationError):
        stranger.models.list()


def test_a_closed_stream_is_cancelled_in_the_engine(url, client):
    before = metric(url, "sim:requests_cancelled_total")
    stream = client.chat.completions.create(
        model="sim-model", messages=say("long"), max_tokens=100_000, stream=True
    )
    next(iter(stream))
    stream.close()
    until = time.monotonic() + 10
    while metric(url, "sim:requests_cancelled_total") == before:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert metric(url, "vllm:kv_cache_usage_perc") == 0


def test_ttft_and_speed_agree_with_the_engines_own(url, client):
    """Eight cold prompts of 8k tokens, one after the other."""
    urllib.request.urlopen(
        urllib.request.Request(f"{url}/sim/reset", method="POST"), timeout=10
    ).close()
    ttfts_s, speeds = [], []
    for turn in range(8):
        words = " ".join(f"value{turn}_{i} = {i};" for i in range(1_000))
        sent_at = time.monotonic()
        times, tokens = [], []
        for chunk in client.chat.completions.create(
            model="sim-model", messages=say(words), max_tokens=400, stream=True
        ):
            if chunk.choices[0].delta.content:
                times.append(time.monotonic())
                tokens.append(chunk.model_extra["x_sim_tokens"])
        ttfts_s.append((times[0] - sent_at) * SPEED)
        speeds.append((tokens[-1] - tokens[0]) / (times[-1] - times[0]) / SPEED)
        assert tokens[-1] == 400
    engine_ttft_s = metric(url, "vllm:time_to_first_token_seconds_sum") / 8
    tpot_s = metric(url, "vllm:request_time_per_output_token_seconds_sum") / 8
    # Never earlier than the engine says, late by at most 60 wall ms.
    assert engine_ttft_s * 0.99 < median(ttfts_s) < engine_ttft_s + 0.06 * SPEED
    # 400 tokens take about 0.2 s of wall time; writes are up to 10 ms apart, machines may be busy.
    assert median(speeds) == pytest.approx(1 / tpot_s, rel=0.35)


def test_many_async_streams_at_once_are_all_answered_or_refused(url):
    async def ask(client: AsyncOpenAI, index: int) -> int | None:
        try:
            stream = await client.chat.completions.create(
                model="sim-model",
                messages=cast(Any, say(f"number {index}")),
                max_tokens=20 + index,
                stream=True,
                stream_options={"include_usage": True},
            )
            tokens = [chunk.usage.completion_tokens async for chunk in stream if chunk.usage]
            assert tokens == [20 + index]
            return tokens[0]
        except RateLimitError as error:
            assert error.response.headers["retry-after"] == "1"
            return None

    async def all_at_once() -> list[int | None]:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            return await asyncio.gather(*(ask(client, index) for index in range(60)))

    answered = [tokens for tokens in asyncio.run(all_at_once()) if tokens]
    assert len(answered) >= 30  # what the queue holds
    assert metric(url, "vllm:num_requests_running") == 0
