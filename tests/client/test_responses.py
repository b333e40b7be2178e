"""The Responses dialect: what each event means."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.test_chat import JSON
from tokenswarm.client import responses
from tokenswarm.client.clock import Stamp
from tokenswarm.client.delta import Delta, MalformedEvent, Usage
from tokenswarm.client.reply import Reply
from tokenswarm.client.sse import SseDecoder

USAGE = {
    "input_tokens": 1000,
    "input_tokens_details": {"cached_tokens": 900, "cache_write_tokens": 96},
    "output_tokens": 307,
    "output_tokens_details": {"reasoning_tokens": 300},
    "total_tokens": 1307,
}


def parsed(payload: object) -> Delta:
    return responses.parse(json.dumps(payload).encode())


def end(kind: str = "response.completed", **fields: object) -> dict[str, object]:
    return {"type": kind, "response": {"status": "completed", "usage": USAGE, **fields}}


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("response.output_text.delta", "has_content"),
        ("response.refusal.delta", "has_content"),
        ("response.reasoning_text.delta", "has_reasoning"),
        ("response.reasoning_summary_text.delta", "has_reasoning"),
        ("response.function_call_arguments.delta", "has_tool_call"),
        ("response.custom_tool_call_input.delta", "has_tool_call"),
    ],
)
def test_text_reasoning_and_arguments_are_output(kind, field):
    assert parsed({"type": kind, "delta": "x"}) == Delta(**cast(Any, {field: True}))
    assert parsed({"type": kind, "delta": ""}) == Delta()


@pytest.mark.parametrize(
    "kind",
    [
        *("response.created", "response.in_progress", "response.queued"),
        *("response.content_part.added", "response.output_text.done", "response.output_item.done"),
        *("response.reasoning_summary_part.added", "keepalive", "response.of_next_year"),
    ],
)
def test_nothing_else_is(kind):
    said = {"type": kind, "text": "all", "response": {"status": "in_progress"}, "item": {}}
    assert parsed(said) == Delta()
    named = b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps(said).encode())
    assert [responses.parse(p) for p in SseDecoder().decode(named)] == [Delta()]


def test_the_end_has_usage_and_reason():
    usage = Usage(1000, 900, 307, 300, 96)
    assert parsed(end()) == Delta(finish_reason="completed", usage=usage, done=True)


@pytest.mark.parametrize("kind", ["response.incomplete", "response.completed"])  # OpenAI, vLLM
def test_at_the_token_limit_the_reason_says_so(kind):
    details = {"reason": "max_output_tokens"}
    said = parsed(end(kind, status="incomplete", incomplete_details=details))
    assert (said.finish_reason, said.done, said.error) == ("max_output_tokens", True, None)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.failed", "response": {"error": {"code": "x", "message": "out of it"}}},
        {"type": "error", "code": "x", "message": "out of it", "param": None},
        {"error": {"message": "out of it"}},
    ],
)
def test_a_failure_is_an_error(event):
    assert parsed(event).error == "out of it"


def test_a_failure_without_a_reason_is_an_error_too():
    assert parsed({"type": "response.failed"}).error == "an error without a message"


def test_a_call_without_arguments_is_output():
    call = {"type": "function_call", "name": "now", "call_id": "c", "arguments": ""}
    events = [
        {"type": "response.created", "response": {}},
        {"type": "response.output_item.added", "item": call},
        {"type": "response.output_item.done", "item": call},
        end(),
    ]
    reply = Reply(parse=responses.parse)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    reply.feed(head, Stamp(0.0, None))
    for n, event in enumerate(events, 1):
        reply.feed(b"data: %b\n\n" % json.dumps(event).encode(), Stamp(float(n), None))
    seen = reply.observation(sent_at=0.0, body_sent_at=0.0, new_connection=True, now=99.0)
    assert (seen.outcome, seen.first_token_at, seen.output_chunks) == ("ok", 2.0, 1)


@pytest.mark.parametrize("payload", [b"[1]", b"x", b"{}", b'{"type":1}'])
def test_what_is_no_event_is_malformed(payload):
    with pytest.raises(MalformedEvent):
        responses.parse(payload)


KINDS = st.sampled_from(["response.completed", "response.failed", "response.output_text.delta"])


@given(KINDS, JSON)
def test_no_json_makes_parse_raise_anything_but_malformed(kind, payload):
    with suppress(MalformedEvent):
        parsed({"response": payload, "delta": payload, "item": payload, "type": kind})


def test_the_embedded_engine_says_how_much_and_when():
    event = {"type": "response.output_text.delta", "delta": "hi"}
    delta = parsed(event | {"x_sim_tokens": 3, "x_sim_at": 1.5})
    assert (delta.chunk_tokens, delta.engine_at_s) == (3, 1.5)
