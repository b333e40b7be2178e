"""Replies: exact length, deterministic, valid JSON however they are cut into chunks."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.engine.server.reply_text import (
    EFFORTS,
    TOOL_TURN_SHARE,
    Reply,
    content_tape,
    draw_reply,
)
from workload.tokens import load_tokenizer

TOOLS = [
    {"type": "function", "function": {"name": "read", "parameters": {"properties": {"path": {}}}}},
    {"type": "function", "function": {"name": 'od"d', "parameters": {"properties": {'"\\': {}}}}},
    {"type": "function", "function": {"name": "bare"}},
]


def draws(count: int, **kwargs) -> list[Reply]:
    return [draw_reply(1, b"prompt %d" % i, 100, TOOLS, **kwargs) for i in range(count)]


def test_the_same_prompt_gets_the_same_reply_and_another_seed_another():
    assert draw_reply(1, b"p", 50, TOOLS) == draw_reply(1, b"p", 50, TOOLS)
    assert draw_reply(1, b"p", 50, []) != draw_reply(2, b"p", 50, [])


def test_about_70_percent_of_turns_with_tools_call_one():
    share = sum(reply.tool is not None for reply in draws(2_000)) / 2_000
    assert abs(share - TOOL_TURN_SHARE) < 0.04  # sd 0.01


def test_some_calls_have_text_before_them_and_some_do_not():
    leads = {reply.text_tokens for reply in draws(200) if reply.tool}
    assert leads == {0, 30}


def test_tool_choice_decides_over_the_coin():
    assert all(reply.tool is None for reply in draws(50, tool_choice="none"))
    assert all(reply.tool for reply in draws(50, tool_choice="required"))
    named = {"type": "function", "function": {"name": "bare"}}
    assert {reply.tool for reply in draws(50, tool_choice=named)} == {"bare"}


def test_without_tools_or_room_there_is_no_call():
    assert draw_reply(1, b"p", 100, [], "required").tool is None
    assert draw_reply(1, b"p", 2, TOOLS, "required").tool is None
    assert draw_reply(1, b"p", 100, ["nonsense", {"function": 3}], "required").tool is None


@given(
    st.binary(max_size=8),
    st.integers(1, 60),
    st.sampled_from(["none", "required"]),
    st.sampled_from(list(EFFORTS)),
    st.sets(st.integers(1, 59)),
)
def test_chunks_add_up_to_the_message_however_they_are_cut(gist, num_tokens, choice, effort, cuts):
    reply = draw_reply(0, gist, num_tokens, TOOLS, choice, effort)
    edges = [0, *sorted(cut for cut in cuts if cut < num_tokens), num_tokens]
    thought = text = arguments = name = ""
    for first, last in zip(edges, edges[1:], strict=False):
        delta = json.loads(reply.delta(first, last))
        assert delta
        thought += delta.get("reasoning_content", "")
        text += delta.get("content", "")
        for call in delta.get("tool_calls", ()):
            arguments += call["function"]["arguments"]
            name += call["function"].get("name", "")
    message = reply.message()
    assert (message["content"] or "") == text
    assert message.get("reasoning_content", "") == thought
    if reply.tool is None:
        assert "tool_calls" not in message
    else:
        (call,) = message["tool_calls"]
        assert (call["function"]["name"], call["function"]["arguments"]) == (name, arguments)
        assert isinstance(json.loads(arguments), dict)


@given(st.integers(1, 5_000), st.sampled_from(list(EFFORTS)))
def test_an_effort_is_a_share_of_the_tokens_and_leaves_one_to_see(num_tokens, effort):
    reply = draw_reply(0, b"p", num_tokens, [], "auto", effort)
    assert reply.reasoning_tokens + reply.text_tokens == num_tokens
    assert reply.text_tokens >= 1
    assert abs(reply.reasoning_tokens - EFFORTS[effort] * num_tokens) <= 1


def test_the_tape_wraps_around():
    tape = content_tape()
    assert tape.read(tape.length - 1, 2) == tape.read(tape.length - 1, 1) + tape.read(0, 1)
    assert len(tape.read(0, 3 * tape.length)) == 3 * len(tape.read(0, tape.length))


def test_a_piece_is_about_one_token_of_the_embedded_tokenizer():
    text = draw_reply(0, b"p", 2_000, []).message()["content"]
    assert 0.75 < load_tokenizer("embedded").count(text) / 2_000 < 1.3
