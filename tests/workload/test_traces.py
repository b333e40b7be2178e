"""Traces: who begins like whom, when it was sent, who waits for whom; damaged files are named."""

from __future__ import annotations

import csv
import gzip
from typing import Any

import orjson
import pytest

from tests.support.traces import REQUESTS, SAMPLE, line, needs_sample, traced, written
from workload.traces import gather
from workload.traces.prefixes import Prefixes
from workload.traces.read import read_trace
from workload.traces.turns import Place, TraceError


def weka(**more: Any) -> dict[str, Any]:
    """A session of three requests: one goes on, one keeps the first two blocks alone."""
    return {
        "id": "s",
        "block_size": 64,
        "hash_id_scope": "local",
        "tool_tokens": 60,
        "system_tokens": 40,
        "requests": [
            weka_request(0.0, 200, [1, 2, 3]),
            weka_request(20.0, 400, [1, 2, 3, 4, 5, 6], input_types=["tool_result"]),
            weka_request(90.0, 300, [1, 2, 7, 8], input_types=["text"]),
        ],
        **more,
    }


def weka_request(t: float, tokens: int, ids: list[int], **more: Any) -> dict[str, Any]:
    return {"t": t, "in": tokens, "out": 50, "hash_ids": ids, "api_time": 5.0, **more}


@pytest.mark.parametrize(
    ("earlier", "prompt", "found"),
    [
        ([[1, 2, 3]], [1, 2, 3, 4], (0, 3)),
        ([[1, 2, 3], [1, 2, 4]], [1, 2, 4, 5], (1, 3)),
        ([[1, 2, 3], [9, 8], [1, 2, 4]], [9, 8, 7], (1, 2)),
        ([[1, 2, 3]], [2, 3], None),
        # A hash of the block alone, which stands elsewhere too: only the beginning counts.
        ([[1, 2, 1, 2, 3]], [1, 2, 3], (0, 2)),
        ([], [1], None),
    ],
)
def test_the_earliest_prompt_with_most_leading_blocks_is_found(earlier, prompt, found):
    prefixes = Prefixes()
    for n, ids in enumerate(earlier):
        prefixes.place(ids, Place(n, 0))
    like, shared = prefixes.place(prompt, Place(99, 0))
    assert (None if like is None else (like.session, shared)) == found


def test_a_session_of_claude_code(tmp_path):
    path = tmp_path / "trace.json"
    path.write_bytes(orjson.dumps(weka(), option=orjson.OPT_INDENT_2))
    trace = read_trace(path)
    (session,) = trace.sessions
    assert (trace.format, session.name, session.opening_tokens) == ("weka", "s", 100)
    assert [turn.kind for turn in session.turns] == ["start", "tool", "compaction"]
    assert [turn.gap_s for turn in session.turns] == [0, 15, 65]
    # It shares every whole block of the first, so it goes on from its end; the third does not.
    assert [turn.kept_tokens for turn in session.turns] == [0, 200, 128]
    assert session.turns[2].like == Place(0, 0)


def test_sub_agents_work_side_by_side_and_their_parent_waits(tmp_path):
    """As in the published traces: `t` of a sub-agent is its end, its requests count from 0."""
    agents = [
        {
            "type": "subagent",
            "t": 5.0 + took,
            "duration_ms": took * 1000,
            "requests": [weka_request(0.0, 100, [50]), weka_request(took - 5.0, 150, [50, n])],
        }
        for n, took in ((60, 30.0), (70, 40.0))
    ]
    requests = [weka_request(0.0, 200, [1, 2, 3]), *agents, weka_request(47.0, 300, [1, 2, 3, 4])]
    path = written(tmp_path / "trace.json", [weka(requests=requests)])
    parent, first, second = read_trace(path).sessions
    assert (parent.turns[1].agents, first.parent, second.parent) == ((1, 2), 0, 0)
    # The last sub-agent's answer ends at 45 s, two before the parent goes on.
    assert parent.turns[1].gap_s == pytest.approx(2)
    assert [turn.at_s for turn in second.turns] == [0, 35]
    assert (second.turns[0].like, second.turns[0].kept_tokens) == (Place(1, 0), 64)


def test_hashes_of_one_session_mean_nothing_in_another(tmp_path):
    for scope, like in (("local", None), ("global", Place(0, 0))):
        path = written(
            tmp_path / f"{scope}.jsonl",
            [weka(hash_id_scope=scope), weka(id="other", hash_id_scope=scope)],
        )
        assert read_trace(path).sessions[1].turns[0].like == like


def test_our_own_form(tmp_path):
    trace = traced(
        tmp_path,
        line("a", 0, 1000),
        line("b", 3, 500, service_s=2),
        line("a", 30, 1200, kept_tokens=1000, kind="user"),
        line("a.1", 39, 300, parent="a", service_s=10),
        line("a", 60, 1500, kept_tokens=1100),
        line("b", 4.5, 700, kept_tokens=500, gap_s=7),
    )
    a, b, agent = trace.sessions
    assert [session.name for session in trace.sessions] == ["a", "b", "a.1"]
    assert [turn.gap_s for turn in a.turns] == [0, 30 - gather.SERVICE_S, 60 - 49]
    assert [turn.kind for turn in a.turns] == ["start", "user", "tool"]
    assert (a.turns[2].like, a.turns[2].kept_tokens) == (Place(0, 1), 1100)
    assert (a.turns[2].agents, agent.parent, agent.turns[0].gap_s) == ((2,), 0, 1)
    assert b.turns[1].gap_s == 7


def test_what_sessions_have_in_common_is_known_of_all_of_them(tmp_path):
    ids = [[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 6, 7]]
    trace = traced(
        tmp_path,
        *(line(f"s{n}", n, 400, hash_ids=each, block_tokens=100) for n, each in enumerate(ids)),
    )
    turns = [session.turns[0] for session in trace.sessions]
    assert [turn.kept_tokens for turn in turns] == [0, 300, 200]
    assert [turn.common_tokens for turn in turns] == [300, 0, 0]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([line("a", -1, 100)], "a, request 0: sent at -1.0 s; accepted: times from 0 on"),
        ([line("a", 9, 100), line("a", 3, 100)], "request 1: sent at 3 s, before the one before"),
        ([line("a", 0, 0)], "prompt of 0 tokens; accepted: 1 to"),
        ([line("a", 0, 100, -5)], "output of -5 tokens; accepted: 0 to"),
        ([line("a", 0, 10**12)], "prompt of 1000000000000 tokens"),
        ([line("a", 0, 100, service_s=-2)], "service of -2.0 s; accepted: 0 or more"),
        ([line("a", 0, 100, gap_s=-2)], "pause of -2.0 s; accepted: 0 or more"),
        ([line("a", 0, 100, kept_tokens=50)], "50 tokens kept; accepted: 0 to 0"),
        (
            [line("a", 0, 100), line("a", 1, 300, kept_tokens=101)],
            "101 tokens kept; accepted: 0 to 100",
        ),
        ([line("a", 0, 100, parent="b"), line("b", 0, 100, parent="a")], "parent = 'b' of"),
        ([line("a", 0, 100, parent="a")], "parent = 'a' of session 'a'; accepted: a session with"),
        ([line("a", 0, 100, kind="reboot")], "kind = 'reboot'; accepted: tool or user"),
        ([line("a", 0, 100, hash_ids=[1, 2], block_tokens=64)], None),
        ([line("a", 0, 100, hash_ids=[1, 2, 3], block_tokens=64)], "3 blocks of 64 tokens for a"),
        ([line("a", 0, 100, hash_ids=[1], block_tokens=0)], "blocks of 0 tokens; accepted: 1 or"),
        ([line("a", 0, 100, hash_ids=[1])], "block_tokens = missing; accepted: a whole number"),
        ([line("a", 0, 100, hash_ids=["x"], block_tokens=64)], "hash_ids = 'x'; accepted: whole"),
        (
            [line("a", 0, 100, hash_ids=[1], block_tokens=64, kept_tokens=3)],
            "both hash_ids and kept_tokens; accepted: one of them",
        ),
        ([line("a", 0, 100), {"at_s": 0}], "session = missing; accepted: a name"),
        ([line("a", 0, 100), {**line("a", 1, 9), "at_s": "x"}], "at_s = 'x'; accepted: a number"),
        ([line("a", 0, 100), 7], "trace.jsonl:2: '7\\n'; accepted: a JSON object"),
        ([{"colour": "red"}], "trace.jsonl:1: an object with colour; accepted: weka"),
        ([weka(requests=[{"t": 0}])], "s, entry 0: hash_ids = missing; accepted: a list"),
        ([weka(requests="x")], "requests = 'x'; accepted: a list of objects"),
        ([weka(requests=[])], "no request in it; accepted: at least one"),
    ],
)
def test_a_damaged_trace_is_refused_with_its_place(tmp_path, lines, said):
    if said is None:
        traced(tmp_path, *lines)
        return
    with pytest.raises(TraceError) as refused:
        traced(tmp_path, *lines)
    assert said in str(refused.value)


def test_one_of_too_many_turns_is_refused(tmp_path, monkeypatch):
    lines = [line("a", n, 100) for n in range(4)]
    monkeypatch.setattr(gather, "MAX_TURNS", 3)
    with pytest.raises(TraceError, match="more than 3 requests; accepted: fewer"):
        traced(tmp_path, *lines)
    monkeypatch.setattr(gather, "MAX_TURNS", 100)
    monkeypatch.setattr(gather, "MAX_SESSION_TURNS", 3)
    with pytest.raises(TraceError, match="a: more than 3 requests in one session"):
        traced(tmp_path, *lines)


def test_files_that_are_no_trace(tmp_path):
    for path, said in (
        (tmp_path / "nowhere", "not there; accepted: a file or folder of weka"),
        (tmp_path, "no file; accepted: names in .json"),
    ):
        with pytest.raises(TraceError) as refused:
            read_trace(path)
        assert said in str(refused.value)
    for name, content, said in (
        ("empty.jsonl", b"", "nothing in it; accepted: files of weka"),
        ("torn.json", b'{"requests": [', "accepted: JSON, one object a line or one"),
        ("torn.json.gz", gzip.compress(b"[")[:20], "accepted: a file that can be read"),
        ("other.json.gz", b"not packed", "accepted: a file that can be read"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TraceError) as refused:
            read_trace(tmp_path / name)
        assert said in str(refused.value) and name in str(refused.value)
    folder = tmp_path / "mixed"
    folder.mkdir()
    written(folder / "a.jsonl", [line("a", 0, 100)])
    written(folder / "b.jsonl", [weka()])
    with pytest.raises(TraceError, match="of format weka, others of the folder are plain"):
        read_trace(folder)


@needs_sample
def test_the_published_sample_has_the_published_numbers():
    with gzip.open(REQUESTS, "rt") as file:
        published: dict[str, list[tuple[int, int, int]]] = {}
        for row in csv.DictReader(file):
            if row["kind"] == "main":
                columns = ("input_tokens", "output_tokens", "cached_prefix_tokens_infinite")
                numbers = tuple(int(row[column]) for column in columns)
                published.setdefault(row["trace_id"], []).append(numbers)  # type: ignore[arg-type]
    trace = read_trace(SAMPLE)
    compared = 0
    for session in trace.sessions:
        if session.parent is not None:
            continue
        read = [
            (turn.prompt_tokens, turn.output_tokens, turn.kept_tokens // 64 * 64)
            for turn in session.turns
        ]
        assert read == published[session.name], session.name
        compared += len(read)
    assert compared == 860


@needs_sample
def test_the_sample_s_sub_agents_begin_together_after_their_parents_answer():
    trace = read_trace(SAMPLE)
    groups = [turn.agents for turn in trace.turns() if turn.agents]
    assert [len(group) for group in groups] == [3, 3]
    for group in groups:
        begun_s = [trace.sessions[agent].turns[0].at_s for agent in group]
        assert max(begun_s) < 0.6
