"""The Messages dialect of the embedded engine, without a server."""

from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.engine_answers import answer_of, events
from tokenswarm.engine.server.answer import CacheUse
from tokenswarm.engine.server.errors import ApiError
from tokenswarm.engine.server.messages.answer import MessagesAnswer, error_body
from tokenswarm.engine.server.messages.request import parse_count, parse_request
from tokenswarm.engine.server.reply_text import EFFORTS, draw_reply

MARK = {"cache_control": {"type": "ephemeral"}}
TOOL = {"name": "read", "description": "Reads.", "input_schema": {"properties": {"path": {}}}}
VALID = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
CACHE = CacheUse(read=64, written=32)


def body(**fields) -> bytes:
    return json.dumps({**VALID, **fields}).encode()


answer = partial(answer_of, MessagesAnswer)


def test_blocks_become_messages_without_their_cache_marks():
    call = {"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "a"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "text of a", **MARK}
    history = [
        {"role": "user", "content": [{"type": "text", "text": "hi", **MARK}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "text", "text": "I read."},
                call,
            ],
        },
        {"role": "user", "content": [result, {"type": "text", "text": "and now"}]},
    ]
    system = [{"type": "text", "text": "Be brief.", **MARK}]
    request = parse_request(body(system=system, messages=history, tools=[{**TOOL, **MARK}]))
    function = {"name": "read", "arguments": '{"path":"a"}'}
    assert request.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "I read.",
            "reasoning_content": "hm",
            "tool_calls": [{"id": "t1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "text of a"},
        {"role": "user", "content": "and now"},
    ]
    (tool,) = request.tools
    assert tool["function"] == {
        "name": "read",
        "description": "Reads.",
        "parameters": TOOL["input_schema"],
    }


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        (None, "auto"),
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "any"}, "required"),
        (
            {"type": "tool", "name": "read"},
            {"type": "function", "function": {"name": "read"}},
        ),
    ],
)
def test_the_choice_of_a_tool(choice, read):
    assert parse_request(body(tools=[TOOL], tool_choice=choice)).tool_choice == read


def test_thinking_is_a_budget_an_effort_or_none():
    enabled = {"type": "enabled", "budget_tokens": 5}
    assert parse_request(body(thinking=enabled)).reasoning_budget == 5
    assert parse_request(body(thinking={"type": "disabled"})).reasoning_effort == "none"
    effort = parse_request(body(output_config={"effort": "max"})).reasoning_effort
    assert effort == "xhigh"
    assert draw_reply(0, b"p", 9, [], reasoning_budget=5).reasoning_tokens == 5


def test_tokens_are_counted_without_max_tokens_and_answers_are_not():
    fields = json.dumps({name: VALID[name] for name in ("model", "messages")}).encode()
    assert parse_count(fields).max_tokens is None
    with pytest.raises(ApiError, match="max_tokens"):
        parse_request(fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": 5}]}, "content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "text"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t"}]}]},
            "input",
        ),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop_sequences": ["END"]}, "stop_sequences"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tool_choice": {"type": "tool", "name": "write"}, "tools": [TOOL]}, "tool_choice"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, "budget_tokens"),
        ({"output_config": {"effort": ["high"]}}, "effort"),
        ({"temperature": 1.5}, "temperature"),
    ],
)
def test_a_bad_field_is_refused_in_anthropics_form(fields, said):
    with pytest.raises(ApiError, match=said) as refused:
        parse_request(body(**fields))
    assert json.loads(error_body(refused.value)) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": str(refused.value)},
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "authentication_error"), (404, "not_found_error"), (429, "rate_limit_error")]
    + [(413, "request_too_large"), (503, "overloaded_error"), (500, "api_error")],
)
def test_a_status_has_its_error_type(status, kind):
    assert json.loads(error_body(ApiError(status, "no")))["error"]["type"] == kind


@given(
    st.integers(3, 60),
    st.sampled_from(["none", "required"]),
    st.sampled_from(list(EFFORTS)),
    st.sets(st.integers(1, 59)),
)
def test_events_build_the_whole_message_however_they_are_cut(num_tokens, choice, effort, cuts):
    sent = answer(num_tokens, choice, effort)
    edges = [0, *sorted(cut for cut in cuts if cut < num_tokens), num_tokens]
    stream = sent.opening(CACHE)
    for first, last in zip(edges, edges[1:], strict=False):
        stream += sent.event(first, last, CACHE, at_s=last / 8)
    start, ping, *middle, delta, stop = events(stream + sent.closing(CACHE))
    assert (start["type"], ping["type"], stop["type"]) == ("message_start", "ping", "message_stop")
    blocks: list[dict] = []
    opened = False
    for event in middle:
        kind = event["type"]
        if kind == "content_block_start":
            assert not opened and event["index"] == len(blocks)
            blocks.append(event["content_block"] | {"json": ""})
            opened = True
        elif kind == "content_block_stop":
            assert opened and event["index"] == len(blocks) - 1
            opened = False
        else:
            assert opened
            said = event["delta"]
            field = {"input_json_delta": "partial_json"}.get(said["type"], said["type"][:-6])
            blocks[-1]["json" if field == "partial_json" else field] += said[field]
    for block in blocks:
        arguments = block.pop("json")
        if block["type"] == "tool_use":
            block["input"] = json.loads(arguments)
    whole = json.loads(sent.whole(CACHE))
    assert blocks == whole["content"]
    assert delta["delta"]["stop_reason"] == whole["stop_reason"]
    assert delta["usage"] == whole["usage"]
    reached = [event["x_sim_tokens"] for event in middle if "x_sim_tokens" in event]
    assert reached == sorted(set(reached)) and reached[-1] == num_tokens
    assert [event["x_sim_at"] for event in middle if "x_sim_at" in event][-1] == num_tokens / 8


def test_usage_parts_the_prompt_in_three():
    usage = json.loads(answer().whole(CACHE))["usage"]
    assert usage == {
        "input_tokens": 4,
        "cache_creation_input_tokens": 32,
        "cache_read_input_tokens": 64,
        "output_tokens": 40,
    }


@pytest.mark.parametrize(("choice", "reason"), [("none", "max_tokens"), ("required", "tool_use")])
def test_the_reason_of_the_end(choice, reason):
    assert json.loads(answer(choice=choice).whole(CACHE))["stop_reason"] == reason


@given(st.sampled_from(["none", "required"]), st.sampled_from(list(EFFORTS)))
def test_an_answer_that_is_sent_back_is_the_history_that_the_engine_remembers(choice, effort):
    sent = answer(60, choice, effort)
    content = json.loads(sent.whole(CACHE))["content"]
    history = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}]
    assert parse_request(body(messages=history)).messages[-1] == sent.history()
