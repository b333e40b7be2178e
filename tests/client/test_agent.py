"""Agents' manners: headers, fields and shapes of a request; plain ones as they always were."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tokenswarm.client.agent import AGENTS, CLAUDE_CODE, CODEX, OPENCODE, PLAIN, Agent, Lineage
from tokenswarm.client.dialects import CHAT, DIALECTS, MESSAGES, RESPONSES
from tokenswarm.client.headers import NAME, OWN

TOOL = b'{"type":"function","function":{"name":"t","description":"d","parameters":{}}}'
SYSTEM = rb"You are an agent.\nBe brief."
ROOT = Lineage("w0.u0.s0")
CHILD = ROOT.child("w0.u0.s0.a1")
GRANDCHILD = CHILD.child("w0.u0.s0.a1.a0")


def body(agent: Agent, *, tools: bool = True, **extra: object) -> dict[str, Any]:
    dialect = DIALECTS[agent.api or "chat"]
    used = (TOOL,) if tools else ()
    head = dialect.opening("m", used, SYSTEM, extra, session="s", agent=agent)
    user = dialect.frames.user
    whole = head + user.begin + b"hi" + user.end + dialect.closing(7)
    parsed: dict[str, Any] = orjson.loads(whole)
    return parsed


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (
            CHAT,
            rb'{"model":"m","stream":true,"stream_options":{"include_usage":true},"tools":['
            rb'{"type":"function","function":{"name":"t","description":"d","parameters":{}}}],'
            rb'"messages":[{"role":"system","content":"You are an agent.\nBe brief."},',
        ),
        (
            MESSAGES,
            rb'{"model":"m","stream":true,"tools":[{"name":"t","description":"d",'
            rb'"input_schema":{},"cache_control":{"type":"ephemeral"}}],"system":[{"type":"text",'
            rb'"text":"You are an agent.\nBe brief.","cache_control":{"type":"ephemeral"}}],'
            rb'"messages":[',
        ),
        (
            RESPONSES,
            rb'{"model":"m","stream":true,"store":false,"prompt_cache_key":"s",'
            rb'"instructions":"You are an agent.\nBe brief.","tools":[{"type":"function",'
            rb'"name":"t","description":"d","parameters":{}}],"input":[',
        ),
    ],
)
def test_plain_requests_begin_with_the_bytes_that_they_always_had(dialect, expected):
    assert dialect.opening("m", (TOOL,), SYSTEM, {}, session="s") == expected
    assert dialect.opening("m", (TOOL,), SYSTEM, {}, session="s", agent=PLAIN) == expected
    assert (PLAIN.headers, PLAIN.query, PLAIN.identify(CHILD)) == ((), "", {})


def test_claude_code_names_the_session_twice_and_its_first_line_is_a_block_of_its_own():
    said = body(CLAUDE_CODE)
    assert said["metadata"] == {"user_id": "user_tokenswarm_account__session_s"}
    mark = {"cache_control": {"type": "ephemeral"}}
    assert said["system"] == [
        {"type": "text", "text": "You are an agent.\n"},
        {"type": "text", "text": "Be brief.", **mark},
    ]
    assert "tool_choice" not in said


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        (r"one line", ["one line"]),
        (r"ends with it\n", ["ends with it\n"]),
        (r"a path C:\\new\nrest", ["a path C:\\new\n", "rest"]),
        (r"\"\u00e9\\\nrest", ['"é\\\n', "rest"]),
    ],
)
def test_a_first_line_is_cut_off_where_no_escape_is_cut(text, blocks):
    head = MESSAGES.opening("m", (), text.encode(), {}, agent=CLAUDE_CODE)
    said = orjson.loads(head + b"]}")["system"]
    assert [block["text"] for block in said] == blocks
    assert [block for block in said if "cache_control" in block] == said[-1:]


def test_codex_has_its_instructions_in_the_input():
    said = body(CODEX)
    assert "instructions" not in said
    assert [item["role"] for item in said["input"]] == ["developer", "user"]
    (part,) = said["input"][0]["content"]
    assert part == {"type": "input_text", "text": "You are an agent.\nBe brief."}
    assert said["tools"] == [
        {"type": "function", "name": "t", "description": "d", "parameters": {}, "strict": False}
    ]
    assert (said["tool_choice"], said["parallel_tool_calls"]) == ("auto", True)
    assert (said["reasoning"], said["store"]) == ({"summary": "auto"}, False)
    assert said["include"] == ["reasoning.encrypted_content"]
    assert said["prompt_cache_key"] == "s"


def test_what_is_about_tools_is_left_out_where_there_are_none():
    assert "tool_choice" not in body(OPENCODE, tools=False)
    assert "parallel_tool_calls" not in body(CODEX, tools=False)
    assert body(OPENCODE)["tool_choice"] == "auto"


def test_extra_fields_hold_over_the_agents_own():
    said = body(CODEX, tool_choice="none", reasoning={"effort": "low"})
    assert (said["tool_choice"], said["reasoning"]) == ("none", {"effort": "low"})


@pytest.mark.parametrize(
    ("agent", "lineage", "expected"),
    [
        (CLAUDE_CODE, ROOT, {"x-claude-code-session-id": "w0.u0.s0"}),
        (
            CLAUDE_CODE,
            CHILD,
            {"x-claude-code-session-id": "w0.u0.s0", "x-claude-code-agent-id": "w0.u0.s0.a1"},
        ),
        (
            CLAUDE_CODE,
            GRANDCHILD,
            {
                "x-claude-code-session-id": "w0.u0.s0",
                "x-claude-code-agent-id": "w0.u0.s0.a1.a0",
                "x-claude-code-parent-agent-id": "w0.u0.s0.a1",
            },
        ),
        (
            CODEX,
            ROOT,
            {"session-id": "w0.u0.s0", "thread-id": "w0.u0.s0", "x-client-request-id": "w0.u0.s0"},
        ),
        (
            CODEX,
            CHILD,
            {
                "session-id": "w0.u0.s0",
                "thread-id": "w0.u0.s0.a1",
                "x-client-request-id": "w0.u0.s0.a1",
                "x-codex-parent-thread-id": "w0.u0.s0",
                "x-openai-subagent": "collab_spawn",
            },
        ),
        (OPENCODE, ROOT, {"x-session-affinity": "w0.u0.s0", "x-session-id": "w0.u0.s0"}),
        (
            OPENCODE,
            GRANDCHILD,
            {
                "x-session-affinity": "w0.u0.s0.a1.a0",
                "x-session-id": "w0.u0.s0.a1.a0",
                "x-parent-session-id": "w0.u0.s0.a1",
            },
        ),
    ],
)
def test_headers_say_whose_turn_it_is(agent, lineage, expected):
    assert agent.identify(lineage) == expected


@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
def test_every_header_of_an_agent_can_be_sent(agent):
    names = [name for name, _ in (*agent.headers, *agent.subagent_headers, *agent.identity)]
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert NAME.fullmatch(name)
        assert name.lower() not in OWN
    for _, value in (*agent.headers, *agent.subagent_headers):
        assert value.isascii()
        assert value.isprintable()
