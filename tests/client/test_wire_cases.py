"""Answers that real servers gave, each with what is right (one row of a review each)."""

import ssl
import time
from typing import Any

import gevent
import pytest
import trustme

from tests.support.records import turn_record
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
    send,
    sleep,
    wait_close,
)
from tokenswarm.client import chat
from tokenswarm.client.clock import Clock, Stamp
from tokenswarm.client.connection import Connection
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.observation import Observation
from tokenswarm.client.reply import FINISH_GRACE_S, Reply
from tokenswarm.client.stream import ChatClient, Timeouts
from tokenswarm.measure.tally import Tally

HI, STOP = delta(content="hi"), delta("stop")
U = {"prompt_tokens": 1000, "completion_tokens": 7}
UNTIL_EOF = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
COUNTED = {"prompt_tokens": 1000, "output_tokens": 7, "outcome": "ok"}


def said(usage: object) -> dict[str, object]:
    return {"choices": [], "usage": usage}


def ended(reason: object, **fields: object) -> dict[str, object]:
    return {"choices": [{"delta": {}, "finish_reason": reason, **fields}]}


def named(name: bytes, data: bytes) -> bytes:
    return chunk(b"event: " + name + b"\ndata: " + data + b"\n\n")


def stream(*pieces: bytes) -> bytes:
    return STREAM_HEAD + b"".join(pieces) + LAST_CHUNK


THINKING = delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}])
DETAILS = delta(reasoning_details=[{"type": "reasoning.text", "text": "hm"}])

# row and what it is: (what the server sends, what is right)
CASES: dict[str, Any] = {
    "1 usage in the choice": (answer(HI, ended("stop", usage=U)), COUNTED),
    "2 usage in two chunks": (
        answer(HI, STOP, said({"prompt_tokens": 1000}), said({"completion_tokens": 7})),
        COUNTED,
    ),
    "3 zeros last": (
        answer(HI, STOP | {"usage": U}, said({"prompt_tokens": 0, "completion_tokens": 0})),
        COUNTED,
    ),
    "4 counts as floats": (
        answer(HI, STOP, said({"prompt_tokens": 1000.0, "completion_tokens": 7.0})),
        COUNTED,
    ),
    "4 a count that is none": (
        answer(HI, STOP, said({"prompt_tokens": "many", "completion_tokens": 7})),
        COUNTED | {"prompt_tokens": None},
    ),
    "5 DeepSeek's hits": (
        answer(HI, STOP, said(U | {"prompt_cache_hit_tokens": 900})),
        COUNTED | {"cached_tokens": 900},
    ),
    "5 Anthropic's hits": (
        answer(HI, STOP, said(U | {"cache_read_input_tokens": 900})),
        COUNTED | {"cached_tokens": 900},
    ),
    "6 reasoning beside the completion": (
        answer(HI, STOP, said(U | {"total_tokens": 1307, "reasoning_tokens": 300})),
        {"output_tokens": 307, "reasoning_tokens": 300},
    ),
    "6 reasoning in the completion": (
        answer(HI, STOP, said(U | {"total_tokens": 1007, "reasoning_tokens": 3})),
        {"output_tokens": 7, "reasoning_tokens": 3},
    ),
    "9 abort": (
        answer(HI, ended("abort")),
        {"outcome": "stream_error", "detail": "finish_reason abort", "finish_reason": "abort"},
    ),
    "9 error": (
        answer(HI, ended("error")),
        {"outcome": "stream_error", "detail": "finish_reason error"},
    ),
    "9 abort as an object": (
        answer(HI, ended({"type": "abort", "message": "out of memory"})),
        {"outcome": "stream_error", "detail": "finish_reason abort: out of memory"},
    ),
    "10 an error in the choice": (
        answer(HI, ended("error", error={"message": "upstream died"})),
        {"outcome": "stream_error", "detail": "finish_reason error: upstream died"},
    ),
    "10 an error in the choice, no reason": (
        answer(HI, ended(None, error={"message": "upstream died"})),
        {"outcome": "stream_error", "detail": "upstream died"},
    ),
    "11 an event called error": (
        stream(chunk(event(HI)), named(b"error", b'{"message":"overloaded"}')),
        {"outcome": "stream_error", "detail": "overloaded"},
    ),
    "11 an event called error, no JSON": (
        stream(chunk(event(HI)), named(b"error", b"overloaded")),
        {"outcome": "stream_error", "detail": "overloaded"},
    ),
    "12 an event called ping": (
        stream(named(b"ping", b'{"type":"ping"}'), chunk(event(HI)), chunk(event(STOP))),
        {"outcome": "ok", "output_chunks": 1},
    ),
    "14 Moonshot's overflow": (
        refusal(400, b"Your request exceeded model token limit: 2000 (requested: 2500)"),
        {"outcome": "context_overflow"},
    ),
    "20 a compressed transfer": (
        STREAM_HEAD.replace(b"chunked", b"gzip, chunked") + chunk(b"\x1f\x8b") + LAST_CHUNK,
        {"outcome": "malformed", "detail": "transfer-encoding gzip; identity was asked for"},
    ),
    "24 an error with ESC codes": (
        answer(HI, {"error": {"message": "a\x1b[31mb"}}),
        {"outcome": "stream_error", "detail": "a [31mb"},
    ),
    "28 tokens counted and none sent": (
        answer(delta(role="assistant"), delta("length"), said(U | {"completion_tokens": 16})),
        {"outcome": "withheld", "output_tokens": 16, "output_chunks": 0},
    ),
    "28 only the token that ends an answer": (
        answer(STOP, said(U | {"completion_tokens": 1})),
        {"outcome": "empty"},
    ),
}


def fed(*reads: bytes, reply: Reply | None = None) -> Reply:
    """A reply that read n at n seconds."""
    reply = reply or Reply()
    for at_s, received in enumerate(reads, start=1):
        reply.feed(received, Stamp(float(at_s), 0.001))
    return reply


def seen(reply: Reply) -> Observation:
    return reply.observation(sent_at=0.0, body_sent_at=0.5, new_connection=True, now=99.0)


@pytest.mark.parametrize("name", CASES)
def test_an_answer_of_a_real_server_is_read_for_what_it_is_worth(name):
    data, right = CASES[name]
    observation = seen(fed(data))
    assert {field: getattr(observation, field) for field in right} == right


@pytest.mark.parametrize("thought", [DETAILS, THINKING], ids=["7 details", "8 content parts"])
def test_reasoning_in_parts_is_the_first_output_and_not_visible(thought):
    pieces = [chunk(event(payload)) for payload in (thought, HI, STOP)]
    observation = seen(fed(STREAM_HEAD, *pieces, LAST_CHUNK))
    assert (observation.outcome, observation.output_chunks) == ("ok", 2)
    assert (observation.first_token_at, observation.first_visible_at) == (2.0, 3.0)


def test_13_an_answer_that_is_finished_and_never_ends_is_ok_as_of_its_last_event():
    pieces = [chunk(event(payload)) for payload in (HI, STOP, said(U))]
    reply = fed(STREAM_HEAD, *pieces)
    assert reply.finished_at == 4.0
    reply.overdue(4.0 + FINISH_GRACE_S)
    observation = seen(reply)
    assert (observation.outcome, observation.ended_at, observation.output_tokens) == ("ok", 4.0, 7)
    assert not reply.reusable


def test_13_and_its_connection_is_dropped():
    pieces = b"".join(chunk(event(payload)) for payload in (HI, STOP, said(U)))
    with ScriptedServer({"s": [read(), send(STREAM_HEAD + pieces), wait_close()]}) as server:
        client = chat_client(server.url("s"))
        turns = [client.send([b"{}"], 2) for _ in range(2)]
        client.close()
    assert [turn.outcome for turn in turns] == ["ok", "ok"]
    assert [turn.new_connection for turn in turns] == [True, True]
    assert turns[0].ended_at == turns[0].last_token_at


def test_19_a_body_that_is_cut_within_an_event_is_truncated_wherever_it_is_cut():
    whole = b"".join(map(event, (HI, HI, STOP, said(U), b"[DONE]")))
    finished = whole.index(b'"stop"')
    for size in range(1, len(whole)):
        reply = fed(UNTIL_EOF + whole[:size])
        reply.cut("closed", 2.0)
        outcome = seen(reply).outcome
        assert outcome == "truncated" or (outcome == "ok" and size > finished), size


def test_21_an_answer_without_end_is_left():
    reply = Reply(max_tokens=1)
    fed(STREAM_HEAD, *[chunk(event(HI))] * 1000, reply=reply)
    observation = seen(reply)
    assert (observation.outcome, observation.output_chunks) == ("endless", 261)
    assert not reply.reusable


def test_26_the_chunks_that_share_a_stamp_are_counted_and_no_speed():
    bundle = chunk(event(HI) * 25)
    observation = seen(fed(STREAM_HEAD, *[bundle] * 4, chunk(event(STOP)), LAST_CHUNK))
    assert (observation.output_chunks, observation.coalesced_chunks) == (100, 96)
    assert (observation.first_stamp_chunks, observation.first_stamp_tokens) == (25, None)
    record = turn_record(
        first_token_at_s=1.0,
        first_visible_at_s=1.0,
        last_token_at_s=2.5,
        first_chunk_tokens=None,
        coalesced_chunks=observation.coalesced_chunks,
        first_stamp_chunks=observation.first_stamp_chunks,
    )
    assert record.decode_tps == pytest.approx(50.0)
    summary = Tally([record]).summary((0.0, 60.0))
    assert summary.coalesced_share == 0.96
    assert summary.decode_tps.p50 == pytest.approx(50.0)


def test_26_tokens_that_the_server_counts_are_those_of_the_whole_first_stamp():
    counted = [HI | {"x_sim_tokens": 3 * n} for n in (1, 2, 3)]
    first, last = chunk(event(counted[0]) + event(counted[1])), chunk(event(counted[2]))
    observation = seen(fed(STREAM_HEAD, first, last))
    assert (observation.first_chunk_tokens, observation.first_stamp_tokens) == (3, 6)
    record = turn_record(output_tokens=9, output_chunks=3, first_stamp_tokens=6)
    assert record.decode_tps == pytest.approx(3 / 2)


def test_27_a_first_chunk_nobody_counted_holds_one_token():
    record = turn_record(output_tokens=101, output_chunks=26, first_chunk_tokens=None)
    assert record.decode_tps == pytest.approx(50.0)


def test_reasoning_that_was_not_streamed_is_no_part_of_the_speed():
    hidden = turn_record(output_tokens=400, reasoning_tokens=300, first_chunk_tokens=None)
    assert hidden.decode_tps == pytest.approx(99 / 2)


def chat_client(url: str) -> ChatClient:
    return ChatClient(Endpoint.parse(url), api_key=None, tls=None, timeouts=Timeouts(5.0, 5.0, 5.0))


def test_22_a_connection_on_which_a_second_answer_came_unasked_is_not_reused():
    other = answer(delta(content="not yours"), HI, HI, STOP)
    scripts = {
        "at once": [read(), send(answer(HI, STOP) + other), wait_close()],
        "later": [read(), send(answer(HI, STOP)), sleep(0.1), send(other), wait_close()],
    }
    with ScriptedServer(scripts) as server:
        for name in scripts:
            client = chat_client(server.url(name))
            assert client.send([b"{}"], 2).outcome == "ok"
            gevent.sleep(0.3)
            turn = client.send([b"{}"], 2)
            client.close()
            assert (turn.new_connection, turn.output_chunks) == (True, 1), name


def test_22_a_late_second_answer_is_not_taken_for_that_to_a_request_under_way():
    """It comes while the next turn is being sent, after the look at the kept connection."""
    other = answer(delta(content="not yours"), HI, HI, STOP)
    late = [read(), send(answer(HI, STOP)), sleep(0.4), send(other), wait_close()]
    body = b'"' + b"x" * 30_000_000 + b'"'  # more than the kernel takes while nobody reads
    with ScriptedServer({"late": late}) as server:
        client = chat_client(server.url("late"))
        assert client.send([b"{}"], 2).outcome == "ok"
        turn = client.send([body, b" "], len(body) + 1)
        client.close()
    assert (turn.outcome, turn.new_connection, turn.output_chunks) == ("ok", True, 1)


def test_22_a_refusal_of_a_request_under_way_is_its_answer():
    """A server may refuse by the head alone, and must not be asked twice."""
    early = [read(), send(answer(HI, STOP)), sleep(0.4), send(refusal(413, b"too large")), read()]
    body = b'"' + b"x" * 30_000_000 + b'"'
    with ScriptedServer({"early": early}) as server:
        client = chat_client(server.url("early"))
        assert client.send([b"{}"], 2).outcome == "ok"
        turn = client.send([body, b" "], len(body) + 1)
        client.close()
    assert (turn.status, turn.new_connection) == (413, False)


@pytest.mark.parametrize(
    ("said", "unasked"),
    [(answer(HI, STOP), True), (refusal(429, b"later"), False), (b"", False)],
)
@pytest.mark.parametrize("secure", [False, True])
def test_22_what_a_server_says_unasked_is_seen_and_kept(said, unasked, secure, tmp_path):
    authority = trustme.CA()
    file = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    certificate, tls = (file, context) if secure else (None, None)
    script = [send(said), wait_close()]
    with ScriptedServer({"s": script}, certificate=certificate) as server:
        clock, endpoint = Clock(), Endpoint.parse(server.url("s"))
        connection = Connection.open(endpoint, tls, clock, timeout_s=5.0, kernel_stamps=True)
        gevent.sleep(0.2)
        assert connection.unasked() is unasked
        assert connection.unasked() is unasked
        heard = b""
        while len(heard) < len(said):
            heard += connection.receive(clock.now() + 5.0, clock.now())[0]
        assert heard == said
        connection.close()


def test_23_a_server_that_floods_does_not_keep_the_hub():
    events = event(HI) * 20_000
    flood = [read(), send(STREAM_HEAD + chunk(events) * 3), send(LAST_CHUNK), wait_close()]
    stalls_s = [0.0]

    def probe() -> None:
        while True:
            before = time.thread_time()  # whatever other processes do meanwhile
            gevent.sleep(0.001)
            stalls_s.append(time.thread_time() - before)

    with ScriptedServer({"s": flood}) as server:
        probing = gevent.spawn(probe)
        turn = chat_client(server.url("s")).send([b"{}"], 2)
        probing.kill()
    assert turn.output_chunks == 60_000
    assert max(stalls_s) < 0.1


def test_a_named_event_that_is_a_chunk_all_the_same_is_read():
    data = stream(named(b"chat.completion.chunk", b'{"choices":[{"delta":{"content":"hi"}}]}'))
    assert seen(fed(data)).output_chunks == 1
    assert chat.parse(b"[DONE]").done
