import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.recorded_streams import LLAMA_CPP_PROMPT_TOO_LONG, LLAMA_CPP_STREAM
from tests.support.scripted_server import (
    LAST_CHUNK,
    STREAM_HEAD,
    answer,
    chunk,
    delta,
    event,
    refusal,
    usage,
)
from tokenswarm.client.clock import Stamp
from tokenswarm.client.observation import Observation
from tokenswarm.client.reply import MAX_ERROR_BYTES, Reply
from tokenswarm.measure.record import OUTCOMES


def fed(*reads: bytes, reply: Reply | None = None) -> Reply:
    """A reply that read n at n seconds, each one millisecond after the kernel had it."""
    reply = reply or Reply()
    for at_s, received in enumerate(reads, start=1):
        reply.feed(received, Stamp(float(at_s), 0.001))
    return reply


def seen(reply: Reply) -> Observation:
    return reply.observation(sent_at=0.0, body_sent_at=0.5, new_connection=True, now=99.0)


def test_every_time_and_count_of_a_whole_answer():
    reply = fed(
        STREAM_HEAD,
        chunk(event(delta(role="assistant", content=""))),
        chunk(event(delta(reasoning_content="hm") | {"x_sim_tokens": 2})),
        chunk(event(delta(content="a"))) + chunk(event(delta(content="b"))),
        chunk(event(delta("stop"))),
        chunk(event(usage(10, 5, cached=8))),
        chunk(event(b"[DONE]")) + LAST_CHUNK,
    )
    assert reply.reusable
    assert seen(reply) == Observation(
        sent_at=0.0,
        body_sent_at=0.5,
        head_at=1.0,
        first_token_at=3.0,
        first_visible_at=4.0,
        last_token_at=4.0,
        ended_at=7.0,
        prompt_tokens=10,
        cached_tokens=8,
        output_tokens=5,
        output_chunks=3,
        first_chunk_tokens=2,
        chunk_gaps_s=(1.0, 0.0),
        stamps="kernel",
        stamp_lag_s=0.001,
        coalesced_reads=1,
        coalesced_chunks=1,
        first_stamp_chunks=1,
        first_stamp_tokens=2,
        outcome="ok",
        status=200,
        finish_reason="stop",
        new_connection=True,
    )


def test_more_cached_than_there_was_is_no_count():
    reply = fed(
        STREAM_HEAD, chunk(event(delta("stop", content="a"))), chunk(event(usage(10, 5, cached=11)))
    )
    assert (seen(reply).prompt_tokens, seen(reply).cached_tokens) == (10, None)


def test_one_output_chunk_stamped_by_the_clock_makes_the_turn_clock_stamped():
    reply = fed(STREAM_HEAD + chunk(event(delta(content="a"))))
    reply.feed(chunk(event(delta(content="b"))), Stamp(2.0, None))
    assert (seen(reply).stamps, seen(reply).stamp_lag_s) == ("clock", 0.0)


@given(st.lists(st.integers(0, 2000), max_size=30))
def test_the_answer_does_not_depend_on_where_the_bytes_were_split(cuts):
    stream = answer(
        delta(role="assistant"), delta(content="a\u2028é"), delta("stop", content="b"), usage(3, 2)
    )
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reply = fed(*(stream[a:b] for a, b in zip(edges, edges[1:], strict=False) if a < b))
    observed = seen(reply)
    assert (observed.outcome, observed.output_chunks, observed.output_tokens) == ("ok", 2, 2)
    assert reply.reusable


SENTENCES = {
    "openai": (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}),
    "vllm": (400, {"error": {"message": "This model's maximum context length is 8192 tokens."}}),
    "vllm old": (
        400,
        {
            "object": "error",
            "message": "The prompt (length 10) is longer than the maximum model length of 8.",
        },
    ),
    "sglang": (
        400,
        {
            "message": "The input (9 tokens) is longer than the model's context length (8 tokens).",
            "object": "error",
        },
    ),
    "llama.cpp": (400, {"error": {"code": 400, "type": "exceed_context_size_error"}}),
    "tgi": (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 4096"}),
    "anthropic": (400, {"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}}),
}


@pytest.mark.parametrize("server", SENTENCES)
def test_a_prompt_that_is_too_long_is_context_overflow_in_every_dialect(server):
    status, body = SENTENCES[server]
    reply = fed(refusal(status, json.dumps(body).encode()))
    assert seen(reply).outcome == "context_overflow"
    assert reply.reusable


def test_what_llama_cpp_really_sent_is_understood():
    body = chunk(LLAMA_CPP_STREAM)
    observed = seen(fed(STREAM_HEAD + body + LAST_CHUNK))
    assert (observed.outcome, observed.output_chunks, observed.finish_reason) == ("ok", 4, "length")
    assert (observed.prompt_tokens, observed.cached_tokens, observed.output_tokens) == (38, 37, 4)
    refused = seen(fed(refusal(400, LLAMA_CPP_PROMPT_TOO_LONG)))
    assert refused.outcome == "context_overflow"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error":{"message":"no such parameter"}}', "http_4xx"),
        (401, b"", "http_401"),
        (403, b"", "http_401"),
        (404, b"not found", "http_404"),
        (413, b"<html>Request Entity Too Large", "http_4xx"),
        (418, b"\xff\xfe", "http_4xx"),
        (429, b"{}", "http_429"),
        (307, b"", "http_4xx"),
        (500, b"maximum context length", "http_5xx"),
        (503, b"", "http_5xx"),
    ],
)
def test_a_status_is_its_failure_kind(status, body, kind):
    observed = seen(fed(refusal(status, body)))
    assert (observed.outcome, observed.status) == (kind, status)
    assert observed.detail.startswith(f"{status}:")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("nan", None),
    ],
)
def test_retry_after_is_seconds_or_unknown(value, expected):
    assert seen(fed(refusal(429, b"", f"Retry-After: {value}"))).retry_after_s == expected


def test_a_refusal_whose_body_never_ends_is_judged_by_what_came():
    reply = fed(b"HTTP/1.1 500 No\r\n\r\n", b"x" * (MAX_ERROR_BYTES + 1))
    assert seen(reply).outcome == "http_5xx"
    assert not reply.reusable
    silent = fed(b"HTTP/1.1 429 No\r\nRetry-After: 2\r\n\r\n")
    silent.overdue(9.0)
    assert (seen(silent).outcome, seen(silent).retry_after_s) == ("http_429", 2.0)


def test_the_speed_of_the_embedded_engine_is_read_from_the_head():
    head = STREAM_HEAD[:-2] + b"X-Sim-Speed: 20\r\n\r\n"
    assert seen(fed(head)).sim_speed == 20.0
    assert seen(fed(STREAM_HEAD)).sim_speed is None


def test_an_answer_that_has_not_ended_is_unfinished():
    observed = seen(fed(STREAM_HEAD + chunk(event(delta(content="a")))))
    assert (observed.outcome, observed.ended_at, observed.output_chunks) == ("unfinished", 99.0, 1)


def test_a_planned_interrupt_ends_with_the_chunk_it_names():
    reply = fed(
        answer(delta(content="a"), delta(content="b"), delta(content="c")),
        reply=Reply(cancel_after_chunks=2),
    )
    assert (seen(reply).outcome, seen(reply).output_chunks) == ("cancelled", 2)
    assert not reply.reusable
    with pytest.raises(ValueError, match="cancel_after_chunks"):
        Reply(cancel_after_chunks=0)


def test_the_key_is_struck_from_what_the_server_says():
    key = "sk-" + "x" * 30
    body = json.dumps({"error": {"message": "y" * 170 + f" bad key {key}"}}).encode()
    detail = seen(fed(refusal(401, body), reply=Reply(secrets=(key,)))).detail
    assert "sk-x" not in detail
    chatty = fed(answer(delta(key, content="a")), reply=Reply(secrets=(key,)))
    assert seen(chatty).finish_reason == "[key]"


def test_what_a_server_writes_becomes_one_short_printable_line():
    wild = seen(fed(refusal(500, "a\r\n\x1b[31mb\u2028c".encode()))).detail
    assert wild.endswith("a [31mb c")
    assert len(seen(fed(refusal(500, b"x" * 10_000))).detail) == 200


HTTP = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 500 No\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Type: application/json\r\n",
        b"Content-Type: text/event-stream\r\n",
        b"\r\n",
        b"5\r\n",
        LAST_CHUNK,
        event(b"[DONE]"),
        event({"error": "x"}),
        event({"choices": []}),
        answer(delta(content="a")),
        chunk(event(delta("stop", content="a"))),
        b'{"choices": []}',
    ]
)


@given(st.lists(HTTP | st.binary(max_size=40), max_size=12), st.sampled_from(["cut", "overdue"]))
def test_no_bytes_make_a_reply_raise_or_end_in_an_unknown_outcome(reads, end):
    reply = fed(*reads)
    reply.cut("cut", 50.0) if end == "cut" else reply.overdue(50.0)
    observed = seen(reply)
    assert observed.outcome in OUTCOMES and observed.outcome != "unfinished"
