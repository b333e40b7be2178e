"""The real engine of the test run streams, counts and caches as an engine under test should."""

import http.client
import inspect
import json
import textwrap
from collections.abc import Iterator

import pytest

from tests.support.llama import MODEL_NAME, running_llama
from tests.support.recorded_streams import LLAMA_CPP_STREAM

TOKENS_AT_THE_SEAM = 16  # a grown prompt may be tokenized differently where the old one ended
READ_TOOL = {
    "type": "function",
    "function": {
        "name": "read_file",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
    },
}
FIRST_TURN = [
    {"role": "system", "content": "You are a coding agent."},
    {"role": "user", "content": "Explain this module.\n" + inspect.getsource(textwrap)},
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_llama(parallel=2, ctx_tokens=16_384) as url:
        yield url.removeprefix("http://")


def ask(server: str, messages: list[dict], max_tokens: int) -> tuple[int, bytes]:
    """Status and body of one streamed chat turn."""
    body = {
        "model": MODEL_NAME,
        "messages": messages,
        "tools": [READ_TOOL],
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    connection = http.client.HTTPConnection(server, timeout=20)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, response.read()


def events_of(stream: bytes) -> list[dict]:
    *events, done, rest = stream.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


def text_of(events: list[dict]) -> str:
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def test_a_grown_turn_finds_the_last_prompt_cached(server: str) -> None:
    first = events_of(ask(server, FIRST_TURN, max_tokens=24)[1])
    read_call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "read_file", "arguments": '{"path": "textwrap.py"}'},
    }
    second_turn: list[dict] = [
        *FIRST_TURN,
        {"role": "assistant", "content": text_of(first), "tool_calls": [read_call]},
        {"role": "tool", "tool_call_id": "call_1", "content": inspect.getsource(textwrap.fill)},
    ]
    second = events_of(ask(server, second_turn, max_tokens=24)[1])

    first_usage, second_usage = first[-1]["usage"], second[-1]["usage"]
    cached_tokens = second_usage["prompt_tokens_details"]["cached_tokens"]
    assert first_usage["prompt_tokens"] > 1_000
    assert cached_tokens >= first_usage["prompt_tokens"] - TOKENS_AT_THE_SEAM
    assert second_usage["prompt_tokens"] > first_usage["prompt_tokens"] + 24
    assert cached_tokens < second_usage["prompt_tokens"]


def test_tool_calls_and_results_are_part_of_the_prompt(server: str) -> None:
    def prompt_tokens(path: str, result: str) -> int:
        arguments = json.dumps({"path": path})
        call = {"type": "function", "id": "1", "function": {"name": "f", "arguments": arguments}}
        answer = {"role": "assistant", "content": None, "tool_calls": [call]}
        result_message = {"role": "tool", "tool_call_id": "1", "content": result}
        go: list[dict] = [FIRST_TURN[0], {"role": "user", "content": "go"}, answer, result_message]
        return events_of(ask(server, go, max_tokens=1)[1])[-1]["usage"]["prompt_tokens"]

    assert prompt_tokens("x" * 200, "") > prompt_tokens("", "") + 50
    assert prompt_tokens("", "x" * 200) > prompt_tokens("", "") + 50


@pytest.mark.parametrize("max_tokens", [1, 7, 200])
def test_an_answer_is_max_tokens_long_and_hardly_a_token_shares_a_chunk(
    server: str, max_tokens: int
) -> None:
    events = events_of(ask(server, FIRST_TURN, max_tokens)[1])
    chunks = [event for event in events if text_of([event])]
    assert events[-1]["usage"]["completion_tokens"] == max_tokens
    assert events[-2]["choices"][0]["finish_reason"] == "length"
    assert 0.8 * max_tokens <= len(chunks) <= max_tokens  # half a character waits for its rest
    assert text_of(events).isprintable()


def test_a_prompt_beyond_the_context_is_refused(server: str) -> None:
    status, body = ask(server, [{"role": "user", "content": "word " * 10_000}], max_tokens=1)
    assert status == 400
    assert json.loads(body)["error"]["type"] == "exceed_context_size_error"


def test_metrics_count_the_tokens_of_the_answers(server: str) -> None:
    def tokens_predicted() -> int:
        connection = http.client.HTTPConnection(server, timeout=20)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        (value,) = [x.split()[1] for x in lines if x.startswith("llamacpp:tokens_predicted_total ")]
        return int(value)

    before = tokens_predicted()
    ask(server, FIRST_TURN, max_tokens=9)
    assert tokens_predicted() == before + 9


def test_the_recorded_stream_still_has_the_shape_of_a_live_one(server: str) -> None:
    def shape(stream: bytes) -> list[tuple]:
        events = events_of(stream)
        deltas = [choice["delta"] for event in events for choice in event["choices"]]
        shapes = [*(tuple(sorted(event)) for event in events), *(tuple(delta) for delta in deltas)]
        return list(dict.fromkeys(shapes))  # as many chunks as there are whole characters

    assert shape(ask(server, FIRST_TURN, max_tokens=4)[1]) == shape(LLAMA_CPP_STREAM)
