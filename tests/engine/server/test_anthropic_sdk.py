"""The official Anthropic SDK against a real engine process. Nobody here wrote that client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from anthropic import Anthropic, AuthenticationError, BadRequestError, NotFoundError

from tokenswarm.commands.embedded_engine import engine

KEY = "a-key"
READ: Any = {
    "name": "read",
    "description": "Reads.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
}
MARK: Any = {"type": "ephemeral"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with engine("--speed", "10", "--api-key", KEY, "--context-tokens", "20000") as address:
        yield address


@pytest.fixture(scope="module")
def client(url) -> Iterator[Anthropic]:
    with Anthropic(base_url=url, api_key=KEY, max_retries=0, timeout=30) as client:
        yield client


def say(text: str) -> Any:
    return [{"role": "user", "content": text}]


def total(usage: Any) -> int:
    read, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    return cast(int, usage.input_tokens + read + written)


def test_a_tool_loop_hits_the_cache_with_what_it_sends_back(client):
    messages = say("read the file " + "with great care " * 200)
    cached, prompts = [], []
    for turn in range(3):
        system: Any = [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
        fields = {"model": "sim-model", "messages": messages, "tools": [READ], "system": system}
        counted = client.messages.count_tokens(**fields).input_tokens
        answer = client.messages.create(
            **fields,
            tool_choice={"type": "any"},
            max_tokens=300,
        )
        assert answer.stop_reason == "tool_use"
        assert answer.usage.output_tokens == 300
        assert total(answer.usage) == counted
        cached.append(answer.usage.cache_read_input_tokens)
        prompts.append(total(answer.usage))
        (call,) = [block for block in answer.content if block.type == "tool_use"]
        assert call.name == "read" and call.input["path"]
        messages.append({"role": "assistant", "content": answer.content})
        result = {"type": "tool_result", "tool_use_id": call.id, "content": f"line {turn} " * 200}
        messages.append({"role": "user", "content": [result]})
    assert cached[0] == 0
    for before, hit in zip(prompts, cached[1:], strict=False):
        assert hit > before  # the prompt before and most of the answer to it


def test_the_sdk_assembles_a_stream_with_thinking(client):
    fields: dict[str, Any] = {
        "model": "sim-model",
        "messages": say("think"),
        "system": "Be brief.",
        "max_tokens": 1_100,
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
    }
    whole = client.messages.create(**fields)
    with client.messages.stream(**fields) as stream:
        streamed = stream.get_final_message()
    assert [block.type for block in streamed.content] == ["thinking", "text"]
    assert streamed.content[0] == whole.content[0] and whole.content[0].thinking
    assert streamed.content[1].text == whole.content[1].text
    assert streamed.stop_reason == whole.stop_reason == "max_tokens"
    assert streamed.usage.output_tokens == 1_100
    assert total(streamed.usage) == total(whole.usage)


@pytest.mark.parametrize(
    ("fields", "kind", "said"),
    [
        ({"stop_sequences": ["END"]}, BadRequestError, "stop_sequences"),
        ({"messages": say("word " * 25_000)}, BadRequestError, "maximum context length"),
        ({"model": "claude"}, NotFoundError, "claude"),
    ],
)
def test_refusals_are_the_sdks_own_errors(client, fields, kind, said):
    with pytest.raises(kind, match=said) as refused:
        client.messages.create(
            **{"model": "sim-model", "messages": say("hi"), "max_tokens": 1, **fields}
        )
    body: Any = refused.value.body
    assert body["type"] == "error"


def test_a_wrong_key_is_an_authentication_error(url):
    with (
        Anthropic(base_url=url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(AuthenticationError) as refused,
    ):
        stranger.messages.create(model="sim-model", messages=say("hi"), max_tokens=1)
    body: Any = refused.value.body
    assert body["error"]["type"] == "authentication_error"
