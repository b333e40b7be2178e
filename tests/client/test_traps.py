"""What servers do to clients, each with the outcome it must have."""

import time
from typing import Any

import gevent
import pytest

from tests.support.scripted_server import (
    LAST_CHUNK,
    STREAM_HEAD,
    ScriptedServer,
    answer,
    chunk,
    delta,
    event,
    read,
    refusal,
    reset,
    send,
    sleep,
    usage,
    wait_close,
)
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.observation import Observation
from tokenswarm.client.stream import ChatClient, Timeouts

HI = delta(content="hi")
STOP = delta("stop")
ROLE = delta(role="assistant", content="")
CALL = delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "read", "arguments": ""}}])
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
TOO_LONG = b'{"error":{"message":"This model\'s maximum context length is 8 tokens","code":400}}'
COMPLETION = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'

# So short that the suite is fast, so long that a busy machine answers in time.
TIMEOUTS = Timeouts(connect_s=2.0, first_token_s=2.0, stall_s=2.0)
BODY = b"x" * 100


def said(data: bytes) -> list[list]:
    return [read(), send(data), wait_close()]


def cut(data: bytes) -> list[list]:
    return [read(), send(data)]


def until_eof(*payloads: object) -> bytes:
    """An answer whose end is the end of the connection."""
    return HEAD + b"\r\n" + b"".join(event(p) for p in payloads)


def with_length(*payloads: object) -> bytes:
    body = b"".join(event(p) for p in payloads)
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def started(*payloads: object) -> bytes:
    """The beginning of a chunked answer."""
    return STREAM_HEAD + b"".join(chunk(event(p)) for p in payloads)


SPLIT = answer('{"choices":[{"delta":{"content":"éééé\u2028"}}]}'.encode(), STOP)

# name: (script, outcome, what else is seen)
TRAPS: dict[str, Any] = {
    # streams that are answers
    "role-only chunk and empty deltas are not output": (
        said(answer(ROLE, delta(), delta(content=""), HI, STOP, usage(5, 1))),
        ("ok", {"output_chunks": 1, "prompt_tokens": 5, "output_tokens": 1}),
    ),
    "tool calls only": (
        said(answer(ROLE, CALL, delta("tool_calls"))),
        ("ok", {"output_chunks": 1}),
    ),
    "reasoning only": (
        said(answer(delta(reasoning_content="hm"), delta("length"))),
        ("ok", {"output_chunks": 1, "first_visible_at": None, "finish_reason": "length"}),
    ),
    "usage missing": (
        said(answer(HI, STOP)),
        ("ok", {"prompt_tokens": None, "cached_tokens": None, "output_tokens": None}),
    ),
    "usage in every chunk": (
        said(
            answer(
                ROLE | {"usage": {"prompt_tokens": 5, "completion_tokens": 0}},
                HI | {"usage": {"prompt_tokens": 5, "completion_tokens": 3}},
                HI | {"usage": {"prompt_tokens": 5, "completion_tokens": 7}},
                usage(5, 7, cached=4),
            )
        ),
        ("ok", {"first_chunk_tokens": 3, "output_tokens": 7, "cached_tokens": 4}),
    ),
    "fewer tokens than asked for": (
        said(answer(HI, STOP, usage(5, 1))),
        ("ok", {"finish_reason": "stop", "output_tokens": 1}),
    ),
    "several events in one read": (
        said(answer(HI, HI, HI, STOP)),
        ("ok", {"output_chunks": 3, "coalesced_reads": 1}),
    ),
    "an event split over reads": (
        [
            read(),
            *[
                step
                for i in range(0, len(SPLIT), 40)
                for step in (send(SPLIT[i : i + 40]), sleep(0.02))
            ],
            wait_close(),
        ],
        ("ok", {"output_chunks": 1}),
    ),
    "unescaped U+2028": (
        said(answer('{"choices":[{"delta":{"content":"a\u2028b"}}]}'.encode())),
        ("ok", {"output_chunks": 1}),
    ),
    "CR LF line ends and comment lines": (
        said(
            STREAM_HEAD
            + chunk(b": ping\r\n\r\n" + event(HI).replace(b"\n", b"\r\n") + b": ping\r\n")
            + chunk(b"data:[DONE]\r\n\r\n")
            + LAST_CHUNK
        ),
        ("ok", {"output_chunks": 1}),
    ),
    "keep-alive events without data": (
        said(STREAM_HEAD + chunk(b"data:\n\n" + event(HI) + b"data: \n\n" + event(b"[DONE]"))),
        ("ok", {"output_chunks": 1}),
    ),
    "a body with a length": (said(with_length(HI, STOP, b"[DONE]")), ("ok", {"output_chunks": 1})),
    "a body that ends with the connection": (
        cut(until_eof(HI, STOP)),
        ("ok", {"output_chunks": 1, "finish_reason": "stop"}),
    ),
    "no [DONE], but finish_reason and the last HTTP chunk": (
        said(answer(HI, STOP, done=False)),
        ("ok", {"output_chunks": 1}),
    ),
    "[DONE] without its blank line": (
        said(STREAM_HEAD + chunk(event(HI) + b"data: [DONE]") + LAST_CHUNK),
        ("ok", {"output_chunks": 1}),
    ),
    "[DONE], but the HTTP message never ends": (said(started(HI, b"[DONE]")), ("ok", {})),
    "100 Continue first": (
        said(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nX: y\r\n\r\n" + answer(HI, STOP)),
        ("ok", {"status": 200}),
    ),
    # streams that are not
    "an answer without output": (said(answer(ROLE, STOP, usage(5, 0))), ("empty", {})),
    "an empty stream": (said(HEAD + b"Content-Length: 0\r\n\r\n"), ("empty", {"status": 200})),
    "[DONE] at once": (said(answer()), ("empty", {})),
    "closed in the stream": (cut(started(HI, HI)), ("truncated", {"output_chunks": 2})),
    "closed after finish_reason, before [DONE]": (cut(started(HI, STOP)), ("truncated", {})),
    "closed in a body with a length": (cut(with_length(HI)[:-3]), ("truncated", {})),
    "a body that ends with the connection, too early": (cut(until_eof(HI)), ("truncated", {})),
    "ended without finish_reason": (said(answer(HI, done=False)), ("truncated", {})),
    "closed in the head": (cut(HEAD), ("truncated", {"status": None})),
    "reset in the stream": (
        [read(), send(started(HI)), sleep(0.1), reset()],
        ("truncated", {"output_chunks": 1}),
    ),
    "an error object in the stream": (
        said(answer(HI, {"error": {"message": "out of blocks"}}, done=False)),
        ("stream_error", {"detail": "out of blocks", "output_chunks": 1}),
    ),
    "an error object instead of a stream": (
        said(refusal(200, b'{"error":"no"}', "Content-Type: application/json")),
        ("stream_error", {"detail": "no"}),
    ),
    # servers that do not speak the protocol
    "not JSON": (said(answer(b"{oops")), ("malformed", {})),
    "not a chat chunk": (said(answer([1, 2])), ("malformed", {})),
    "stream=true ignored": (
        said(refusal(200, COMPLETION, "Content-Type: application/json")),
        (
            "malformed",
            {"detail": "a whole completion: the server ignored stream=true"},
        ),
    ),
    "a web page": (said(refusal(200, b"<html>", "Content-Type: text/html")), ("malformed", {})),
    "gzip that was not asked for": (
        said(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"),
        ("malformed", {}),
    ),
    "garbage": (said(b"\x00\x01garbage\r\n\r\n"), ("malformed", {"status": None})),
    "another protocol": (said(b"SSH-2.0-OpenSSH_9.2\r\n"), ("malformed", {})),
    "a protocol switch": (
        said(b"HTTP/1.1 101 Yes\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
        ("malformed", {}),
    ),
    "a head that does not end": (
        [
            read(),
            send(HEAD),
            *[send(b"X: " + b"y" * 65536 + b"\r\n") for _ in range(6)],
            wait_close(),
        ],
        ("malformed", {}),
    ),
    "endless 100 Continue": (
        [read(), *[send(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000) for _ in range(6)], wait_close()],
        ("malformed", {}),
    ),
    "a broken chunk length": (
        said(started(HI) + b"zz\r\n"),
        ("malformed", {"output_chunks": 1}),
    ),
    # refusals
    "429 with Retry-After": (
        said(refusal(429, b"{}", "Retry-After: 3")),
        ("http_429", {"retry_after_s": 3.0, "status": 429}),
    ),
    "400 context overflow": (said(refusal(400, TOO_LONG)), ("context_overflow", {"status": 400})),
    "400 for another reason": (said(refusal(400, b"{}")), ("http_4xx", {})),
    "401": (said(refusal(401, b"")), ("http_401", {})),
    "404": (said(refusal(404, b"")), ("http_404", {})),
    "a redirect": (said(refusal(307, b"", "Location: http://elsewhere/")), ("http_4xx", {})),
    "503": (said(refusal(503, b"overloaded")), ("http_5xx", {"detail": "503: overloaded"})),
    "503, closed": (cut(b"HTTP/1.0 503 No\r\n\r\noverloaded"), ("http_5xx", {})),
    # connections
    "closed at once": ([], ("connect", {"status": None})),
    "reset at once": ([reset()], ("connect", {})),
    "closed after the request": ([read()], ("connect", {"first_token_at": None})),
    "reset after the request": ([read(), reset()], ("connect", {})),
}


@pytest.fixture(scope="module")
def seen() -> dict[str, Observation]:
    """Every trap walked into, all at once."""
    with ScriptedServer({name: script for name, (script, _) in TRAPS.items()}) as server:

        def turn(name: str) -> Observation:
            client = chat_client(server.url(name))
            observation = client.send([BODY], len(BODY))
            client.close()
            return observation

        turns = {name: gevent.spawn(turn, name) for name in TRAPS}
        gevent.joinall(turns.values(), raise_error=True)
        return {name: turn.value for name, turn in turns.items()}


def chat_client(url: str, timeouts: Timeouts = TIMEOUTS, **settings) -> ChatClient:
    given = {"api_key": None, "tls": None} | settings
    return ChatClient(Endpoint.parse(url), timeouts=timeouts, **given)


@pytest.mark.parametrize("name", TRAPS)
def test_trap_has_its_outcome(name, seen):
    _, (outcome, fields) = TRAPS[name]
    observation = seen[name]
    assert observation.outcome == outcome, observation
    assert {field: getattr(observation, field) for field in fields} == fields


SHORT = 0.3
DEADLINES = {
    "nothing after the request": ([read(), wait_close()], "first_token_timeout"),
    "only a head and a role chunk": (said(started(ROLE)), "first_token_timeout"),
    "comments, but never a token": (
        [read(), send(STREAM_HEAD), *[send(chunk(b": ping\n\n")), sleep(0.05)] * 40],
        "first_token_timeout",
    ),
    "a request that is never read": ([sleep(3.0)], "first_token_timeout"),
    "nothing after the first token": (said(started(ROLE, HI)), "stall_timeout"),
    "comments after the first token": (
        [read(), send(started(HI)), *[send(chunk(b": ping\n\n")), sleep(0.05)] * 40],
        "stall_timeout",
    ),
    "an error whose body never comes": (
        said(b"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n"),
        "http_5xx",
    ),
}


def test_servers_that_hang_are_left_when_the_time_is_up():
    huge = b"x" * 2**24  # more than loopback buffers hold
    with ScriptedServer({name: script for name, (script, _) in DEADLINES.items()}) as server:

        def turn(name: str) -> Observation:
            client = chat_client(server.url(name), Timeouts(2.0, SHORT, SHORT))
            body = huge if "never read" in name else BODY
            return client.send([body], len(body))

        turns: dict[str, Any] = {name: gevent.spawn(turn, name) for name in DEADLINES}
        gevent.joinall(turns.values(), raise_error=True)
    outcomes = {name: turn.value.outcome for name, turn in turns.items()}
    assert outcomes == {name: outcome for name, (_, outcome) in DEADLINES.items()}
    for name, sent in turns.items():
        observation = sent.value
        begun_at = observation.last_token_at or observation.sent_at
        assert observation.ended_at - begun_at >= SHORT, name
    assert turns["a request that is never read"].value.body_sent_at is None


def test_what_arrived_in_time_counts_even_if_the_hub_was_busy_past_the_deadline():
    script = [read(), sleep(0.2), send(answer(HI, STOP)), wait_close()]
    with ScriptedServer({"s": script}) as server:
        turn = gevent.spawn(chat_client(server.url("s")).send, [BODY], len(BODY))
        while not server.log("s")[1:]:  # accepted, then read
            gevent.sleep(0.01)
        time.sleep(TIMEOUTS.first_token_s + 0.2)
        observation = turn.get()
    assert observation.outcome == "ok" or observation.stamps == "clock"


@pytest.mark.parametrize(("status", "outcome"), [(413, "http_4xx"), (429, "http_429")])
def test_an_answer_that_comes_while_the_body_is_still_unsent_is_heard(status, outcome):
    early = refusal(status, b"{}", "Retry-After: 7")
    body = b"x" * 2**24  # more than loopback buffers hold, and nobody reads it
    with ScriptedServer({"s": [send(early), sleep(3.0)]}) as server:
        client = chat_client(server.url("s"))
        observation = client.send([body], len(body))
        assert client.send([BODY], len(BODY)).new_connection
    assert (observation.status, observation.outcome) == (status, outcome)
    assert (observation.retry_after_s, observation.body_sent_at) == (7.0, None)


def test_an_early_answer_whose_connection_is_reset_is_heard_or_a_connect_failure():
    body = b"x" * 2**24
    with ScriptedServer({"s": [send(refusal(429, b"{}"))]}) as server:
        observation = chat_client(server.url("s")).send([body], len(body))
    # The reset that unread bytes provoke may overtake the answer: TCP allows it.
    assert observation.outcome in ("http_429", "connect")


def test_nobody_listens():
    with ScriptedServer({"s": []}) as server:
        url = server.url("s")
    observation = chat_client(url).send([BODY], len(BODY))
    assert (observation.outcome, observation.sent_at) == ("connect", None)
    assert observation.detail


def test_a_name_that_does_not_exist_and_one_that_cannot():
    for host in ("no-such-host.invalid", "a" * 80 + ".invalid"):
        observation = chat_client(f"http://{host}:1").send([BODY], len(BODY))
        assert observation.outcome in ("connect", "connect_timeout")
