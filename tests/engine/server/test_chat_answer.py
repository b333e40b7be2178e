"""Answers of chat completions, without a server."""

from __future__ import annotations

import json

import pytest

from tokenswarm.engine.server.answer import CacheUse
from tokenswarm.engine.server.chat.answer import ChatAnswer
from tokenswarm.engine.server.chat.request import parse_request
from tokenswarm.engine.server.reply_text import draw_reply

HIT, COLD = CacheUse(64, 32), CacheUse(0, 96)
VALID = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def body(**fields) -> bytes:
    return json.dumps({**VALID, **fields}).encode()


def answer(**fields) -> ChatAnswer:
    request = parse_request(body(**fields))
    reply = draw_reply(
        0,
        b"p",
        request.max_tokens or 20,
        request.tools,
        request.tool_choice,
        request.reasoning_effort or "none",
    )
    return ChatAnswer(
        model=request.model,
        streamed=request.stream,
        usage_at_the_end=request.include_usage,
        usage_in_every_chunk=request.usage_in_every_chunk,
        max_tokens_given=request.max_tokens is not None,
        reply=reply,
        number=7,
        created=1,
        prompt_tokens=100,
    )


def events(stream: bytes) -> list[dict]:
    payloads = [part.removeprefix(b"data: ") for part in stream.split(b"\n\n") if part]
    assert payloads[-1] == b"[DONE]"
    return [json.loads(payload) for payload in payloads[:-1]]


def test_a_stream_ends_with_reason_usage_and_done():
    finish, usage = events(
        answer(max_tokens=9, stream_options={"include_usage": True}).closing(HIT)
    )
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 9,
        "total_tokens": 109,
        "prompt_tokens_details": {"cached_tokens": 64, "created_cache_tokens": 32},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def test_usage_is_sent_only_when_asked_for():
    assert len(events(answer(max_tokens=9).closing(COLD))) == 1


def test_each_chunk_says_how_many_tokens_came_so_far():
    reply = answer(max_tokens=9)
    chunks = events(reply.event(0, 1, COLD) + reply.event(1, 5, COLD) + reply.closing(COLD))
    assert [chunk["x_sim_tokens"] for chunk in chunks] == [1, 5, 9]


def test_usage_in_every_chunk_on_request():
    reply = answer(max_tokens=9, stream_options={"continuous_usage_stats": True})
    (chunk, _) = events(reply.event(0, 4, HIT) + reply.closing(HIT))
    assert chunk["usage"]["completion_tokens"] == 4
    assert chunk["usage"]["prompt_tokens_details"]["cached_tokens"] == 64


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"max_tokens": 9}, "length"),
        ({}, "stop"),
        (
            {
                "max_tokens": 9,
                "tool_choice": "required",
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
            "tool_calls",
        ),
    ],
)
def test_finish_reason(fields, reason):
    assert json.loads(answer(**fields).whole(COLD))["choices"][0]["finish_reason"] == reason


def test_reasoning_is_counted_as_far_as_it_has_come():
    reply = answer(
        max_tokens=10,
        reasoning_effort="medium",
        stream_options={"include_usage": True, "continuous_usage_stats": True},
    )
    first, last, _, usage = events(
        reply.event(0, 3, COLD) + reply.event(3, 10, COLD) + reply.closing(COLD)
    )
    assert set(first["choices"][0]["delta"]) == {"reasoning_content"}
    assert set(last["choices"][0]["delta"]) == {"reasoning_content", "content"}
    counts = [chunk["usage"]["completion_tokens_details"] for chunk in (first, last, usage)]
    assert counts == [{"reasoning_tokens": n} for n in (3, 5, 5)]


def test_the_whole_answer_holds_the_reasoning_apart_from_the_content():
    whole = json.loads(answer(max_tokens=10, reasoning_effort="high").whole(COLD))
    message = whole["choices"][0]["message"]
    assert message["reasoning_content"] and message["content"]
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": 8}
