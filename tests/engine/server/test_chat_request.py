"""Requests: what is heeded, what is refused by name, and that nothing else ever happens."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tokenswarm.engine.server.chat.request import parse_request
from tokenswarm.engine.server.errors import ApiError

VALID = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TOOL = {"type": "function", "function": {"name": "read"}}


def body(**fields) -> bytes:
    return json.dumps({**VALID, **fields}).encode()


def test_absent_fields_have_defaults():
    request = parse_request(body())
    assert (request.max_tokens, request.stream, request.tools) == (None, False, [])
    assert (request.tool_choice, request.reasoning_effort) == ("auto", None)


def test_max_completion_tokens_goes_before_max_tokens():
    assert parse_request(body(max_tokens=5, max_completion_tokens=6)).max_tokens == 6


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"temperature": 0.7, "top_p": 1, "presence_penalty": -2, "frequency_penalty": 2.0},
        {"seed": -1, "user": "someone", "metadata": {"a": "b"}},
        {"stop": []},
        {"temperature": 0, "tools": [TOOL], "tool_choice": "required"},
        {"n": 1, "logprobs": False, "top_logprobs": 0},
        {"response_format": {"type": "text"}},
        {"ignore_eos": True, "min_tokens": 5, "max_tokens": 5},
        {"parallel_tool_calls": False, "store": True, "service_tier": "auto"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "read"}}},
        {"tools": [], "tool_choice": "none"},
        {field: None for field in ("n", "stop", "tools", "max_tokens", "stream", "logprobs")},
        {"a_field_of_the_future": [1, 2]},
    ],
)
def test_what_clients_send_is_accepted(fields):
    assert parse_request(body(**fields)).model == "m"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_completion_tokens": 0, "max_tokens": 5}, "max_completion_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"tools": {}}, "tools"),
        ({"tools": ["read"]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"function": {"name": "write"}}}, "tool_choice"),
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"stop": 5}, "stop"),
        ({"stop": "END"}, "stop"),
        ({"stop": ["a", "b"]}, "stop"),
        ({"seed": "x"}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"reasoning_effort": ["high"]}, "reasoning_effort"),
    ],
)
def test_a_bad_field_is_named_with_what_is_accepted(fields, param):
    with pytest.raises(ApiError) as refused:
        parse_request(body(**fields))
    error = json.loads(refused.value.body())["error"]
    assert (refused.value.status, error["param"]) == (400, param)
    assert "it must be" in error["message"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"5", b'{"model": "\xff"}', b"[" * 100_000, b'{"model": "\\ud800"}']
)
def test_a_body_that_is_no_json_object_is_refused(text):
    with pytest.raises(ApiError) as refused:
        parse_request(text)
    assert refused.value.status == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)
NAMES = ["max_tokens", "max_completion_tokens", "stream", "stream_options", "tools", "tool_choice"]
NAMES += ["n", "stop", "seed", "temperature", "top_p", "logprobs", "top_logprobs", "min_tokens"]
NAMES += ["response_format", "reasoning_effort", "model", "messages", "parallel_tool_calls"]
FIELDS = st.dictionaries(st.sampled_from(NAMES), JSON)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine
@given(FIELDS)
@example({"tools": [{"function": {"name": []}}], "tool_choice": {"function": {"name": []}}})
@example({"tools": [{"function": {}}], "tool_choice": {"function": {}}})
def test_whatever_the_fields_hold_the_request_is_read_or_refused(fields):
    try:
        request = parse_request(body(**fields))
    except ApiError as error:
        assert error.status == 400
    else:
        assert request.max_tokens is None or request.max_tokens >= 1
