"""The Messages dialect: what each event means, and what servers make of its usage."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.test_chat import JSON
from tests.support.dialect_streams import MessagesStream
from tokenswarm.client import messages
from tokenswarm.client.clock import Stamp
from tokenswarm.client.delta import Delta, MalformedEvent, Usage
from tokenswarm.client.reply import Reply
from tokenswarm.client.sse import SseDecoder


def parsed(payload: object) -> Delta:
    return messages.parse(json.dumps(payload).encode())


def block_delta(**delta: object) -> dict[str, object]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def started(**usage: object) -> dict[str, object]:
    return {"type": "message_start", "message": {"id": "msg_1", "usage": usage}}


def ended(reason: str = "end_turn", **usage: object) -> dict[str, object]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def observed(*events: dict[str, Any]):
    """The events as one answer, a second apart."""
    reply = Reply(parse=messages.parse)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    reply.feed(head, Stamp(0.0, None))
    for n, event in enumerate(events, 1):
        name = str(event["type"]).encode()
        data = b"event: %b\ndata: %b\n\n" % (name, json.dumps(event).encode())
        reply.feed(data, Stamp(float(n), None))
    return reply.observation(sent_at=0.0, body_sent_at=0.0, new_connection=True, now=99.0)


@pytest.mark.parametrize(
    ("delta", "kind"),
    [
        ({"type": "text_delta", "text": "hi"}, "has_content"),
        ({"type": "thinking_delta", "thinking": "hm"}, "has_reasoning"),
        ({"type": "input_json_delta", "partial_json": '{"a'}, "has_tool_call"),
    ],
)
def test_text_thinking_and_arguments_are_output(delta, kind):
    assert parsed(block_delta(**delta)) == Delta(**cast(Any, {kind: True}))
    assert not parsed(block_delta(**dict.fromkeys(delta, ""))).has_output


@pytest.mark.parametrize(
    "event",
    [
        {"type": "ping"},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
        block_delta(type="signature_delta", signature="abc"),
        {"type": "an_event_of_next_year", "text": "hi"},
    ],
)
def test_nothing_else_is(event):
    assert parsed(event) == Delta()


def test_a_block_that_comes_whole_is_output():
    block = {"type": "redacted_thinking", "data": "x"}
    assert parsed({"type": "content_block_start", "content_block": block}).has_reasoning
    block = {"type": "text", "text": "hi"}
    assert parsed({"type": "content_block_start", "content_block": block}).has_content


def test_the_name_of_a_tool_is_output_only_where_no_arguments_come():
    tool = {"type": "tool_use", "id": "t", "name": "now", "input": {}}
    opened = {"type": "content_block_start", "index": 0, "content_block": tool}
    ending = (ended("tool_use", output_tokens=9), {"type": "message_stop"})
    bare = observed(started(input_tokens=5), opened, *ending)
    assert (bare.outcome, bare.output_chunks, bare.first_token_at) == ("ok", 1, 2.0)
    arguments = block_delta(type="input_json_delta", partial_json="{}")
    full = observed(started(input_tokens=5), opened, arguments, *ending)
    assert (full.outcome, full.output_chunks, full.first_token_at) == ("ok", 1, 3.0)
    assert full.finish_reason == "tool_use"


@pytest.mark.parametrize(
    ("start", "end"),
    [
        # Anthropic: all of it at the start; the end repeats it or says the output alone.
        ({"input_tokens": 90, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 10},
         {"output_tokens": 7}),
        ({"input_tokens": 90, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 10},
         {"input_tokens": 90, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 10,
          "output_tokens": 7}),
        # vLLM 0.32: the total at the start, the parts at the end.
        ({"input_tokens": 1000},
         {"input_tokens": 90, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 10,
          "output_tokens": 7}),
        # The same with a prompt that was cached to its last token.
        ({"input_tokens": 1000},
         {"input_tokens": 0, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 100,
          "output_tokens": 7}),
        # A proxy that forgets the cache at the end, and one that zeroes everything.
        ({"input_tokens": 90, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 10},
         {"input_tokens": 90, "output_tokens": 7}),
        ({"input_tokens": 90, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 10,
          "output_tokens": 7},
         {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}),
    ],
)  # fmt: skip
def test_the_prompt_is_what_was_new_read_and_written(start, end):
    text = block_delta(type="text_delta", text="hi")
    seen = observed(started(**start), text, ended(**end), {"type": "message_stop"})
    assert seen.outcome == "ok"
    assert (seen.prompt_tokens, seen.cached_tokens, seen.output_tokens) == (1000, 900, 7)


def test_llama_cpp_counts_nothing_written():
    assert parsed(started(input_tokens=100, cache_read_input_tokens=900)).usage == Usage(
        prompt_tokens=1000, cached_tokens=900
    )
    assert parsed(ended(output_tokens=7)).usage == Usage(output_tokens=7)


def test_an_answer_that_stops_before_its_end_is_truncated_and_one_with_a_stop_reason_is_whole():
    text = block_delta(type="text_delta", text="hi")
    reply = observed(started(input_tokens=5), text)
    assert reply.outcome == "unfinished"
    assert observed(started(), text, ended(output_tokens=1)).finish_reason == "end_turn"


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
         b'"message":"Overloaded"}}\n\n', "Overloaded"),
        (b'data: {"type":"error","error":{"message":"Overloaded"}}\n\n', "Overloaded"),
        (b'event: error\ndata: {"message":"Overloaded"}\n\n', "Overloaded"),
        (b"event: error\ndata: gone\n\n", "gone"),
    ],
)  # fmt: skip
def test_an_error_in_the_stream_is_an_error(stream, message):
    (payload,) = SseDecoder().decode(stream)
    assert messages.parse(payload).error == message


@pytest.mark.parametrize(
    "payload", [b"[1]", b"x", b"{}", b'{"type":1}', b'{"type":"content_block_delta","delta":1}']
)
def test_what_is_no_event_is_malformed(payload):
    with pytest.raises(MalformedEvent):
        messages.parse(payload)


KINDS = st.sampled_from(["message_start", "message_delta", "content_block_start", "error"])


@given(KINDS, JSON)
def test_no_json_makes_parse_raise_anything_but_malformed(kind, payload):
    with suppress(MalformedEvent):
        parsed({"message": payload, "delta": payload, "content_block": payload, "type": kind})


def test_the_scripted_stream_is_what_the_dialect_says():
    stream = MessagesStream()
    data = stream.begin("reasoning") + stream.chunk("reasoning", "hm") + stream.end()
    kinds = [messages.parse(payload) for payload in SseDecoder().decode(data)]
    assert [delta.has_output for delta in kinds] == [False, False, False, True, False, False]


def test_the_embedded_engine_says_how_much_and_when():
    event = block_delta(type="text_delta", text="hi") | {"x_sim_tokens": 3, "x_sim_at": 1.5}
    delta = parsed(event)
    assert (delta.chunk_tokens, delta.engine_at_s) == (3, 1.5)
