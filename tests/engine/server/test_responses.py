"""The Responses dialect of the embedded engine, without a server."""

from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.engine_answers import answer_of, events
from tokenswarm.engine.server.answer import CacheUse
from tokenswarm.engine.server.errors import ApiError
from tokenswarm.engine.server.reply_text import EFFORTS
from tokenswarm.engine.server.responses.answer import ResponsesAnswer
from tokenswarm.engine.server.responses.request import parse_request

TOOL = {"type": "function", "name": "read", "parameters": {"properties": {"path": {}}}}
VALID = {"model": "m", "input": "hi"}
CACHE = CacheUse(read=64, written=32)


def body(**fields) -> bytes:
    return json.dumps({**VALID, **fields}).encode()


answer = partial(answer_of, ResponsesAnswer)


def test_items_of_one_answer_are_one_message():
    items = [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I read."}],
        },
        {"type": "function_call", "call_id": "c1", "name": "read", "arguments": '{"path": "a"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "text of a"},
        {"type": "function_call", "call_id": "c2", "name": "read", "arguments": "{}"},
    ]
    request = parse_request(body(input=items, instructions="Be brief.", tools=[TOOL]))

    def call(call_id: str, arguments: str) -> dict:
        function = {"name": "read", "arguments": arguments}
        return {"id": call_id, "type": "function", "function": function}

    assert request.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "I read.",
            "reasoning_content": "hm",
            "tool_calls": [call("c1", '{"path": "a"}')],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "text of a"},
        {"role": "assistant", "content": None, "tool_calls": [call("c2", "{}")]},
    ]
    (tool,) = request.tools
    assert tool["function"] == {"name": "read", "parameters": TOOL["parameters"]}


def test_two_answers_in_a_row_are_two_messages():
    said = {"type": "message", "role": "assistant", "content": "done"}
    assert len(parse_request(body(input=[said, said])).messages) == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input": []}, "input"),
        ({"input": ["hi"]}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        ({"input": [{"role": "tool", "content": "x"}]}, "role"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "text"),
        ({"input": [{"type": "reasoning", "content": 5}]}, "reasoning"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"previous_response_id": "resp_1"}, "stores nothing"),
        ({"background": True}, "background"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "write"}, "tools": [TOOL]}, "tool_choice"),
        ({"reasoning": {"effort": ["high"]}}, "effort"),
        ({"text": {"format": {"type": "json_schema"}}}, "format"),
    ],
)
def test_a_bad_field_is_named_with_what_is_accepted(fields, said):
    with pytest.raises(ApiError, match=said) as refused:
        parse_request(body(**fields))
    assert refused.value.status == 400


@given(
    st.integers(3, 60),
    st.sampled_from(["none", "required"]),
    st.sampled_from(list(EFFORTS)),
    st.sets(st.integers(1, 59)),
)
def test_events_build_the_whole_response_however_they_are_cut(num_tokens, choice, effort, cuts):
    sent = answer(num_tokens, choice, effort)
    edges = [0, *sorted(cut for cut in cuts if cut < num_tokens), num_tokens]
    stream = sent.opening(CACHE)
    for first, last in zip(edges, edges[1:], strict=False):
        stream += sent.event(first, last, CACHE, at_s=last / 8)
    seen = events(stream + sent.closing(CACHE))
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    items: list[dict] = []
    texts: list[str] = []
    for event in seen:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert event["output_index"] == len(texts)
            texts.append("")
        elif kind.endswith(".delta"):
            assert event["output_index"] == len(texts) - 1
            texts[-1] += event["delta"]
        elif kind.endswith((".text.done", "_text.done", "arguments.done")):
            assert texts[-1] == event.get("text", event.get("arguments"))
        elif kind == "response.output_item.done":
            items.append(event["item"])
    whole = json.loads(sent.whole(CACHE))
    assert seen[-1]["response"] == whole
    assert items == whole["output"]
    reached = [event["x_sim_tokens"] for event in seen if "x_sim_tokens" in event]
    assert reached == sorted(set(reached)) and reached[-1] == num_tokens
    assert [event["x_sim_at"] for event in seen if "x_sim_at" in event][-1] == num_tokens / 8


def test_usage_has_cached_and_written_tokens():
    assert json.loads(answer(effort="medium").whole(CACHE))["usage"] == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 32},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 20},
        "total_tokens": 140,
    }


def test_text_at_the_limit_is_incomplete_and_a_call_is_complete():
    cut = events(answer().closing(CACHE))[-1]
    assert (cut["type"], cut["response"]["status"]) == ("response.incomplete", "incomplete")
    assert cut["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert events(answer(choice="required").closing(CACHE))[-1]["type"] == "response.completed"


@given(st.sampled_from(["none", "required"]), st.sampled_from(list(EFFORTS)))
def test_an_answer_that_is_sent_back_is_the_history_that_the_engine_remembers(choice, effort):
    sent = answer(60, choice, effort)
    history = [{"role": "user", "content": "hi"}, *json.loads(sent.whole(CACHE))["output"]]
    read = parse_request(body(input=history)).messages[-1]
    assert read == sent.history()
