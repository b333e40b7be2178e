import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scripted_server import delta
from tokenswarm.client import chat
from tokenswarm.client.delta import Delta, MalformedEvent, Usage
from tokenswarm.client.dialects import CHAT


def parsed(payload: object) -> Delta:
    return chat.parse(json.dumps(payload).encode())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"role": "assistant"}, Delta()),
        ({"role": "assistant", "content": ""}, Delta()),
        ({"content": None, "reasoning_content": "", "tool_calls": []}, Delta()),
        ({"content": "x"}, Delta(has_content=True)),
        ({"refusal": "no"}, Delta(has_content=True)),
        ({"reasoning_content": "x"}, Delta(has_reasoning=True)),
        ({"reasoning": "x"}, Delta(has_reasoning=True)),
        ({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "read"}}]}, "tool"),
        ({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}, "tool"),
        ({"tool_calls": [{"index": 0, "id": "c", "function": {"arguments": ""}}]}, Delta()),
        ({"function_call": {"arguments": "{"}}, "tool"),
        (None, Delta()),
    ],
)
def test_output_is_content_reasoning_or_a_tool_call_that_is_not_empty(fields, expected):
    seen = parsed({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]})
    assert seen == (Delta(has_tool_call=True) if expected == "tool" else expected)


def test_usage_is_read_and_what_is_absent_stays_unknown():
    full = {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert parsed({"choices": [], "usage": full}).usage == Usage(9, 0, 5, 2)
    bare = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": None}
    assert parsed({"choices": [], "usage": bare}).usage == Usage(9, None, 5, None)
    flat = {"prompt_tokens": 9, "cached_tokens": 4, "reasoning_tokens": 1}
    assert parsed({"choices": [], "usage": flat}).usage == Usage(9, 4, None, 1)
    assert parsed(delta(content="x") | {"usage": None}).usage is None


def test_tokens_so_far_come_from_usage_in_the_chunk_or_from_our_engine():
    assert parsed(delta(content="x")).chunk_tokens is None
    assert parsed(delta(content="x") | {"usage": {"completion_tokens": 4}}).chunk_tokens == 4
    assert parsed(delta(content="x") | {"x_sim_tokens": 3}).chunk_tokens == 3
    assert parsed(delta(content="x") | {"usage": {"completion_tokens": 0}}).chunk_tokens is None


def test_the_end_is_done_or_a_finish_reason():
    assert chat.parse(b"[DONE]").done and chat.parse(b" [DONE] ").done
    assert parsed(delta("tool_calls")).finish_reason == "tool_calls"
    assert parsed(delta("")).finish_reason is None


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"error": {"message": "out of blocks", "code": 500}}, "out of blocks"),
        ({"error": "boom"}, "boom"),
        ({"object": "error", "message": "old vLLM", "code": 400}, "old vLLM"),
        ({"error": {"code": 3}}, "an error without a message"),
        ({"error": None, "choices": []}, None),
    ],
)
def test_error_objects_are_recognised(payload, message):
    assert parsed(payload).error == message


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"\xff",
        b"{}",
        b'{"choices":{}}',
        b'{"choices":[1]}',
        b'{"choices":[{"delta":"x"}]}',
        b'{"choices":[{"delta":{"content":1}}]}',
        b'{"choices":[{"delta":{"tool_calls":{}}}]}',
        b'{"choices":[{"delta":{},"finish_reason":1}]}',
    ],
)
def test_what_is_no_chunk_is_malformed(payload):
    with pytest.raises(MalformedEvent):
        chat.parse(payload)


@pytest.mark.parametrize("said", [-1, 1.5, True, "7", []])
def test_a_count_that_is_no_whole_number_is_unknown_and_the_answer_stands(said):
    usage = {"prompt_tokens": said, "completion_tokens": 7.0}
    assert parsed({"choices": [], "usage": usage}).usage == Usage(output_tokens=7)
    assert parsed({"choices": [], "usage": said}).usage is None


NAMES = st.sampled_from(
    ["choices", "delta", "content", "reasoning", "reasoning_content", "tool_calls", "function"]
    + ["function_call", "name", "arguments", "finish_reason", "usage", "prompt_tokens", "error"]
    + ["completion_tokens", "prompt_tokens_details", "cached_tokens", "message", "object"]
    + ["x_sim_tokens", "refusal"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("error"),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES | st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_no_json_makes_parse_raise_anything_but_malformed(payload):
    with suppress(MalformedEvent):
        assert isinstance(parsed(payload), Delta)


def test_json_as_deep_as_it_can_be_does_not_exhaust_the_stack():
    deep = b"[" * 1000 + b"]" * 1000
    assert chat.parse(b'{"error":%s}' % deep).error == "an error without a message"
    with pytest.raises(MalformedEvent):
        chat.parse(b"[" * 10**6)


@given(st.binary())
def test_no_bytes_make_parse_raise_anything_but_malformed(payload):
    with suppress(MalformedEvent):
        assert isinstance(chat.parse(payload), Delta)


@pytest.mark.parametrize("tools", [(), (b'{"type":"function"}',)])
def test_opening_messages_and_closing_make_one_request(tools):
    extra = {"temperature": 0, "stream_options": {"continuous_usage_stats": True}}
    body = json.loads(
        chat.opening("kimi", tools, b"be brief", extra)
        + b'{"role":"user","content":"hi"}'
        + CHAT.closing(450, min_tokens=450)
    )
    assert body == {
        "model": "kimi",
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "temperature": 0,
        **({"tools": [{"type": "function"}]} if tools else {}),
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hi"},
        ],
        "max_tokens": 450,
        "min_tokens": 450,
    }
    assert json.loads(chat.opening("m", (), b"", {}) + CHAT.closing(1))["max_tokens"] == 1


def test_the_output_tokens_can_be_asked_for_under_the_newer_name():
    body = json.loads(
        chat.opening("m", (), b"", {})
        + CHAT.closing(9, min_tokens=9, field="max_completion_tokens")
    )
    assert (body["max_completion_tokens"], body["min_tokens"]) == (9, 9)
    assert "max_tokens" not in body


@pytest.mark.parametrize(
    "extra",
    [{"messages": []}, {"max_completion_tokens": 9}, {"a": object()}, {"stream_options": 1}],
)
def test_extra_fields_that_cannot_be_sent_are_refused(extra):
    with pytest.raises(ValueError):
        chat.opening("m", (), b"", extra)
