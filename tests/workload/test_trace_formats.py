"""Formats: the same session as each of them writes it; of the texts nothing stays."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from tests.support.traces import written
from workload.traces.read import read_trace
from workload.traces.turns import Place, Trace, TraceError

SENTINEL = "the crown jewels"


def mooncake(at_ms: int, tokens: int, ids: list[int], **more: Any) -> dict[str, Any]:
    return {
        "timestamp": at_ms,
        "input_length": tokens,
        "output_length": 40,
        "hash_ids": ids,
        **more,
    }


def test_mooncake_requests_that_go_on_from_another_are_one_session(tmp_path):
    path = written(
        tmp_path / "mooncake.jsonl",
        [
            mooncake(0, 1600, [1, 2, 3, 4]),
            mooncake(1000, 1100, [1, 2, 9]),  # the same beginning, of another
            mooncake(20_000, 2100, [1, 2, 3, 5, 6]),
            mooncake(30_000, 900, [11, 12]),
        ],
    )
    trace = read_trace(path)
    assert [len(session.turns) for session in trace.sessions] == [2, 1, 1]
    first, other = trace.sessions[0].turns, trace.sessions[1].turns[0]
    assert [turn.at_s for turn in first] == [0, 20]
    assert (first[1].like, first[1].kept_tokens) == (Place(0, 0), 1536)
    assert (other.like, other.kept_tokens) == (Place(0, 0), 1024)
    assert first[0].common_tokens == 1024


def test_blocks_of_16_tokens_and_named_chats(tmp_path):
    path = written(
        tmp_path / "bailian.jsonl",
        [
            mooncake(0, 40, [1, 2, 3], chat_id=7, parent_chat_id=-1),
            mooncake(9, 40, [1, 2, 5], chat_id=8, parent_chat_id=-1),
            mooncake(30, 60, [1, 2, 4, 6], chat_id=9, parent_chat_id=7),
        ],
    )
    trace = read_trace(path)
    assert [[turn.at_s for turn in session.turns] for session in trace.sessions] == [[0, 30], [0]]
    assert trace.sessions[0].turns[1].kept_tokens == 40


def test_hashes_that_fit_no_size_of_a_block(tmp_path):
    path = written(tmp_path / "x.jsonl", [mooncake(0, 5000, [1, 2, 3])])
    with pytest.raises(TraceError, match="3 hash_ids for an input_length of 5000; accepted: one"):
        read_trace(path)


def claude(kind: str, at_s: float, content: Any, **more: Any) -> dict[str, Any]:
    message = {"role": kind, "content": content, **more.pop("message", {})}
    return {
        "type": kind,
        "sessionId": "s",
        "timestamp": f"2026-01-31T09:00:{at_s:06.3f}Z",
        "cwd": f"/home/{SENTINEL}",
        "message": message,
        **more,
    }


def answered(message_id: str, at_s: float, new: int, cached: int, out: int = 50, **more: Any):
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": new - 3,
        "cache_read_input_tokens": cached,
        "output_tokens": out,
    }
    text = [{"type": "text", "text": SENTINEL}]
    return claude("assistant", at_s, text, message={"id": message_id, "usage": usage}, **more)


RESULT = [{"type": "tool_result", "content": SENTINEL}]
CLAUDE = [
    {"type": "summary", "summary": SENTINEL, "leafUuid": "u"},
    claude("user", 0, SENTINEL),
    answered("m1", 4, 20_000, 0, out=1),
    answered("m1", 6, 20_000, 0, out=300),  # the same answer, its next content block
    claude("user", 8, RESULT),
    answered("m2", 11, 900, 20_000),
    claude("user", 20, SENTINEL, isSidechain=True, uuid="a1", parentUuid=None),
    answered("m3", 22, 9_000, 0, isSidechain=True, uuid="a2", parentUuid="a1"),
    claude("user", 30, RESULT),
    answered("m4", 33, 15_000, 7_000),  # something at the beginning has changed
    claude("user", 50, SENTINEL),
    answered("m5", 55, 8_000, 5_000),  # shorter: compacted
]


def test_claude_code_s_logs(tmp_path):
    session, agent = read_trace(written(tmp_path / "s.jsonl", CLAUDE)).sessions
    turns = session.turns
    assert [turn.prompt_tokens for turn in turns] == [20_000, 20_900, 22_000, 13_000]
    assert [turn.output_tokens for turn in turns] == [300, 50, 50, 50]
    assert [turn.kept_tokens for turn in turns] == [0, 20_000, 7_000, 5_000]
    assert [turn.kind for turn in turns] == ["start", "tool", "tool", "compaction"]
    assert [turn.gap_s for turn in turns] == pytest.approx([0, 2, 8, 17])
    assert (agent.parent, turns[2].agents) == (0, (1,))
    assert agent.turns[0].gap_s == pytest.approx(9)


def test_sub_agents_in_files_of_their_own(tmp_path):
    main = [each for each in CLAUDE if not each.get("isSidechain")]
    agent = [
        {**each, "agentId": "x", "uuid": "r", "parentUuid": None}
        for each in CLAUDE
        if each.get("isSidechain")
    ]
    written(tmp_path / "agent-x.jsonl", agent)
    written(tmp_path / "s.jsonl", main)
    parent, child = read_trace(tmp_path).sessions
    assert (parent.name, child.name, child.parent) == ("s", "s.x", 0)
    assert parent.turns[2].agents == (1,)


def test_a_cache_that_was_given_up_between_two_turns_says_nothing_of_the_prompt(tmp_path):
    later = {**CLAUDE[-1], "timestamp": "2026-01-31T09:30:05Z"}
    asked = {**CLAUDE[-2], "timestamp": "2026-01-31T09:30:00Z"}
    grown = answered("m9", 0, 30_000, 0)
    grown["timestamp"] = later["timestamp"]
    (session,) = read_trace(written(tmp_path / "s.jsonl", [*CLAUDE[1:4], asked, grown])).sessions
    assert [turn.kept_tokens for turn in session.turns] == [0, 20_000]


def codex(at_s: float, kind: str, **payload: Any) -> dict[str, Any]:
    at = f"2026-01-31T09:00:{at_s:06.3f}Z"
    return {"timestamp": at, "type": kind, "payload": payload}


def counted(at_s: float, prompt: int, cached: int, total: int) -> dict[str, Any]:
    last = {"input_tokens": prompt, "cached_input_tokens": cached, "output_tokens": 70}
    info = {"last_token_usage": last, "total_token_usage": {"total_tokens": total}}
    return codex(at_s, "event_msg", type="token_count", info=info)


CODEX = [
    codex(0, "session_meta", id="c", instructions=SENTINEL),
    codex(1, "response_item", type="message", role="user", content=SENTINEL),
    codex(5, "response_item", type="function_call", arguments=SENTINEL),
    counted(6, 10_000, 0, 10_070),
    codex(9, "response_item", type="function_call_output", output=SENTINEL),
    codex(9, "event_msg", type="token_count", info=None),
    counted(9.5, 10_000, 0, 10_070),  # of the rate limits: no answer
    counted(12, 11_500, 9_984, 21_640),
]


def test_codex_logs(tmp_path):
    (session,) = read_trace(written(tmp_path / "rollout.jsonl", CODEX)).sessions
    assert session.name == "c"
    assert [turn.prompt_tokens for turn in session.turns] == [10_000, 11_500]
    assert [turn.kept_tokens for turn in session.turns] == [0, 10_000]
    assert [turn.kind for turn in session.turns] == ["start", "tool"]
    assert session.turns[1].gap_s == pytest.approx(3)


def span(name: str, above: str | None, at_s: float, ended_s: float, **attributes: Any):
    typed = [
        {"key": key.replace("__", "."), "value": {kind: value}}
        for key, value in attributes.items()
        for kind in [("intValue" if isinstance(value, int) else "stringValue")]
    ]
    return {
        "traceId": "t",
        "spanId": name,
        "parentSpanId": above,
        "startTimeUnixNano": str(int(at_s * 1e9)),
        "endTimeUnixNano": str(int(ended_s * 1e9)),
        "attributes": typed,
    }


def call(name: str, above: str | None, at_s: float, tokens: int):
    usage = {"gen_ai__usage__input_tokens": tokens, "gen_ai__usage__output_tokens": 30}
    message = {"gen_ai__input__messages": SENTINEL}
    return span(name, above, at_s, at_s + 2, gen_ai__operation__name="chat", **usage, **message)


AGENT = {"gen_ai__operation__name": "invoke_agent"}
OTEL = [
    span("main", None, 0, 60, **AGENT),
    call("c1", "main", 1, 5_000),
    span("tool", "main", 4, 20, gen_ai__operation__name="execute_tool"),
    span("sub", "tool", 4, 20, **AGENT),
    call("c2", "sub", 5, 2_000),
    call("c3", "main", 30, 6_000),
]


@pytest.mark.parametrize("exported", [True, False], ids=["export", "span a line"])
def test_spans_of_calls_below_agents(tmp_path, exported):
    lines: list[Any] = OTEL
    if exported:
        lines = [{"resourceSpans": [{"scopeSpans": [{"spans": OTEL}]}]}]
    session, agent = read_trace(written(tmp_path / "spans.jsonl", lines)).sessions
    assert [turn.prompt_tokens for turn in session.turns] == [5_000, 6_000]
    assert [turn.kept_tokens for turn in session.turns] == [0, 5_000]
    assert (agent.parent, session.turns[1].agents) == (0, (1,))
    assert session.turns[1].gap_s == pytest.approx(23)


def test_spans_below_one_another_are_refused(tmp_path):
    circle = [span("main", "tool", 0, 60), span("tool", "main", 1, 9), call("c1", "tool", 1, 500)]
    with pytest.raises(TraceError, match="span c1 has more than 1000 spans above it"):
        read_trace(written(tmp_path / "spans.jsonl", circle))


def recorded(at_s: float, *messages: tuple[str, str], **more: Any) -> dict[str, Any]:
    request = {
        "model": "m",
        "max_tokens": 200,
        "messages": [{"role": role, "content": text} for role, text in messages],
    }
    return {"at_s": at_s, "request": request, **more}


LONG = "".join(f"{n} {SENTINEL} " for n in range(200))
RECORDED = [
    recorded(0, ("system", LONG), ("user", "fix it")),
    recorded(5, ("system", LONG), ("user", "explain it"), output_tokens=60),
    recorded(9, ("system", LONG), ("user", "fix it"), ("assistant", LONG), ("tool", LONG)),
    recorded(20, ("user", "another")),
]


def test_recordings_of_whole_requests(tmp_path):
    trace = read_trace(written(tmp_path / "recorded.jsonl", RECORDED))
    first, last = trace.sessions[0].turns[0], trace.sessions[-1].turns[0]
    assert first.prompt_tokens == pytest.approx(len(LONG) / 4, rel=0.02)
    assert (first.output_tokens, last.like) == (200, None)
    grown = next(turn for turn in trace.turns() if turn.prompt_tokens > 2 * first.prompt_tokens)
    assert grown.kept_tokens == pytest.approx(first.prompt_tokens, abs=70)
    explained = next(turn for turn in trace.turns() if turn.output_tokens == 60)
    assert explained.kept_tokens == pytest.approx(len(LONG) / 4, abs=70)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"at_s": 0, "request": {}}], "no messages in the request; accepted: a list of them"),
        (
            [{"at_s": 0, "request": {"messages": [{"role": "user", "content": "x"}]}}],
            "neither output_tokens nor max_tokens",
        ),
        ([*RECORDED, {"at_s": 30, "request": 7}], "request is no object; accepted: a request's"),
        ([CODEX[0], {**CODEX[-1], "timestamp": "noon"}], "timestamp = 'noon'; accepted: a date"),
        ([*CLAUDE[:2], {**CLAUDE[2], "sessionId": None}], "sessionId = missing; accepted: a name"),
        ([CLAUDE[0]], "no request in it; accepted: at least one"),
    ],
)
def test_damaged_ones_are_refused_with_their_place(tmp_path, lines, said):
    with pytest.raises(TraceError) as refused:
        read_trace(written(tmp_path / "trace.jsonl", lines))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "lines", [CLAUDE, CODEX, OTEL, RECORDED], ids=["claude", "codex", "otel", "rec"]
)
def test_of_the_texts_nothing_stays(tmp_path, lines):
    path = written(tmp_path / "trace.jsonl", lines)
    assert SENTINEL in path.read_text()
    trace = read_trace(path)
    assert SENTINEL not in _all_strings(trace)


def _all_strings(trace: Trace) -> str:
    """Every string that can be reached from it."""
    seen: set[int] = set()
    found: list[str] = []
    todo: list[object] = [trace]
    while todo:
        each = todo.pop()
        if id(each) in seen or isinstance(each, type):
            continue
        seen.add(id(each))
        if isinstance(each, str):
            found.append(each)
        else:
            todo.extend(gc.get_referents(each))
    return "\n".join(found)
