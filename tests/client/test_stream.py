import hashlib
import json

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
    send,
    sleep,
    wait_close,
)
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.stream import ChatClient, RequestFailed, Timeouts

HI = delta(content="hi")
ANSWER = answer(HI, delta("stop"))
TIMEOUTS = Timeouts(connect_s=5.0, first_token_s=5.0, stall_s=5.0)
BODY = [b"{}"]


def chat_client(url: str, **settings) -> ChatClient:
    given = {"api_key": None, "tls": None, "timeouts": TIMEOUTS} | settings
    return ChatClient(Endpoint.parse(url), **given)


def test_the_segments_arrive_as_one_body_with_its_length_and_key():
    many = range(3000)  # more than one sendmsg takes
    segments: list[bytes | memoryview] = [b"segment %d," % i * (i % 90) for i in many]
    segments[7] = memoryview(bytes(segments[7]))
    body = b"".join(segments)
    with ScriptedServer({"s": [read(), send(ANSWER), wait_close()]}) as server:
        client = chat_client(server.url("s"), api_key="sk-secret")
        assert client.send(segments, len(body)).outcome == "ok"
        client.close()
        request = next(entry for entry in server.log("s") if entry["what"] == "read")
    assert request["body_bytes"] == len(body)
    assert request["body_sha256"] == hashlib.sha256(body).hexdigest()
    head = request["head"].split("\r\n")
    assert head[0] == "POST /v1/chat/completions HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.ports['s']}" in head
    assert "Authorization: Bearer sk-secret" in head
    assert "Accept-Encoding: identity" in head
    assert "Accept: text/event-stream" in head


def test_a_body_larger_than_the_socket_buffers_arrives_whole():
    segments = [bytes([i % 256]) * 40_000 for i in range(600)]
    body = b"".join(segments)
    script = [sleep(0.3), read(), send(ANSWER), wait_close()]
    with ScriptedServer({"s": script}) as server:
        observation = chat_client(server.url("s")).send(segments, len(body))
        request = next(entry for entry in server.log("s") if entry["what"] == "read")
    assert request["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert observation.outcome == "ok"
    assert observation.sent_at < observation.body_sent_at <= observation.head_at


def test_a_kept_connection_carries_the_next_turn():
    with ScriptedServer(
        {"s": [read(), send(ANSWER), read(), send(ANSWER), wait_close()]}
    ) as server:
        client = chat_client(server.url("s"))
        turns = [client.send(BODY, 2) for _ in range(2)]
        client.close()
        assert {entry["connection"] for entry in server.log("s")} == {0}
    assert [turn.outcome for turn in turns] == ["ok", "ok"]
    assert [turn.new_connection for turn in turns] == [True, False]


@pytest.mark.parametrize("goodbye", [[], [send(b"HTTP/1.1 408 Timeout\r\n\r\n"), wait_close()]])
def test_a_kept_connection_the_server_has_given_up_is_replaced_before_sending(goodbye):
    with ScriptedServer({"s": [read(), send(ANSWER), sleep(0.05), *goodbye]}) as server:
        client = chat_client(server.url("s"))
        client.send(BODY, 2)
        gevent.sleep(0.5)
        turn = client.send(BODY, 2)
        client.close()
    assert (turn.outcome, turn.new_connection) == ("ok", True)


def test_a_kept_connection_that_dies_under_the_request_is_an_outcome_and_no_retry():
    with ScriptedServer({"s": [read(), send(ANSWER), read()]}) as server:
        client = chat_client(server.url("s"))
        client.send(BODY, 2)
        turn = client.send(BODY, 2)
        assert (turn.outcome, turn.new_connection) == ("connect", False)
        assert {entry["connection"] for entry in server.log("s")} == {0}
        assert client.send(BODY, 2).outcome == "ok"


@pytest.mark.parametrize(
    "last",
    [
        answer(HI, delta("stop")).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1),
        answer(HI, delta("stop")).removesuffix(LAST_CHUNK),
        answer(HI, delta("stop")) + b"more",
    ],
    ids=["close asked for", "message not over", "more than the message"],
)
def test_a_connection_that_is_not_clean_is_not_kept(last):
    with ScriptedServer({"s": [read(), send(last), wait_close()]}) as server:
        client = chat_client(server.url("s"))
        turns = [client.send(BODY, 2) for _ in range(2)]
        client.close()
    assert [turn.outcome for turn in turns] == ["ok", "ok"]
    assert turns[1].new_connection


def test_waiting_for_the_last_http_chunk_does_not_move_the_end_of_the_turn():
    stream = [send(answer(HI, delta("stop")).removesuffix(LAST_CHUNK)), wait_close()]
    with ScriptedServer({"s": [read(), *stream]}) as server:
        turn = chat_client(server.url("s")).send(BODY, 2)
    assert turn.ended_at == turn.last_token_at


def test_a_planned_interrupt_hangs_up():
    chunks = [step for _ in range(50) for step in (send(chunk(event(HI))), sleep(0.02))]
    script = [read(), send(STREAM_HEAD), *chunks, wait_close()]
    with ScriptedServer({"s": script}) as server:
        client = chat_client(server.url("s"))
        turn = client.send(BODY, 2, cancel_after_chunks=3)
        gevent.sleep(0.2)
        assert (turn.outcome, turn.output_chunks) == ("cancelled", 3)
        assert turn.ended_at == turn.last_token_at
        assert (
            "error" in [entry["what"] for entry in server.log("s")]
            or len(server.sends("s")) < len(chunks) / 2
        )


def test_a_killed_turn_leaves_what_it_saw_and_closes_the_connection():
    script = [read(), send(STREAM_HEAD + chunk(event(HI))), wait_close()]
    with ScriptedServer({"s": script}) as server:
        client = chat_client(server.url("s"))
        turn = gevent.spawn(client.send, BODY, 2)
        while not server.sends("s"):
            gevent.sleep(0.01)
        gevent.sleep(0.1)
        turn.kill()
        assert isinstance(turn.value, gevent.GreenletExit)
        assert (client.partial.outcome, client.partial.output_chunks) == ("unfinished", 1)
        assert client.partial.ended_at >= client.partial.first_token_at
        with gevent.Timeout(10):
            while server.log("s")[-1]["what"] != "closed":
                gevent.sleep(0.01)
        assert client.send(BODY, 2, cancel_after_chunks=1).outcome == "cancelled"
        assert client.partial is None


def test_a_timeout_of_the_caller_is_not_swallowed():
    with ScriptedServer({"s": [read(), wait_close()]}) as server:
        client = chat_client(server.url("s"))
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.2):
            client.send(BODY, 2)
        assert client.partial.outcome == "unfinished"


def test_without_kernel_stamps_the_clock_is_named_as_the_source():
    with ScriptedServer({"s": [read(), send(ANSWER), wait_close()]}) as server:
        turn = chat_client(server.url("s"), kernel_stamps=False).send(BODY, 2)
    assert (turn.outcome, turn.stamps, turn.stamp_lag_s) == ("ok", "clock", 0.0)


def test_small_gets_share_the_connection():
    models = json.dumps({"data": [{"id": "kimi"}]}).encode()
    script = [read(), send(refusal(200, models, "X-Y: z")), read(), send(ANSWER), wait_close()]
    with ScriptedServer({"s": script}) as server:
        client = chat_client(server.url("s"))
        status, headers, body = client.get("/v1/models")
        assert (status, headers["x-y"], body) == (200, "z", models)
        assert not client.send(BODY, 2).new_connection
        client.close()
        assert server.log("s")[1]["head"].startswith("GET /v1/models HTTP/1.1\r\n")


def test_a_get_reads_a_body_that_ends_with_the_connection():
    with ScriptedServer({"s": [read(), send(b"HTTP/1.0 200 OK\r\n\r\nhi")]}) as server:
        assert chat_client(server.url("s")).get("/metrics") == (200, {}, b"hi")


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ([read()], "truncated"),
        ([read(), send(b"garbage\r\n\r\n")], "malformed"),
        ([read(), send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")], "truncated"),
    ],
)
def test_a_get_without_an_answer_says_why(script, kind):
    with ScriptedServer({"s": script}) as server, pytest.raises(RequestFailed) as failed:
        chat_client(server.url("s")).get("/v1/models")
    assert failed.value.kind == kind


def test_a_get_where_nobody_listens():
    with ScriptedServer({"s": []}) as server:
        url = server.url("s")
    with pytest.raises(RequestFailed) as failed:
        chat_client(url).get("/v1/models")
    assert failed.value.kind == "connect"


def test_the_key_is_in_no_repr_and_no_detail():
    key = "sk-very-secret"
    echo = refusal(401, json.dumps({"error": {"message": f"bad key {key}"}}).encode())
    with ScriptedServer({"s": [read(), send(echo), wait_close()]}) as server:
        client = chat_client(server.url("s"), api_key=key)
        turn = client.send(BODY, 2)
    assert turn.outcome == "http_401"
    assert "bad key [key]" in turn.detail
    assert key not in repr(turn) + repr(client)


@pytest.mark.parametrize("key", ["sk\r\nX: y", "clé"])
def test_a_key_that_would_break_the_head_is_refused_without_repeating_it(key):
    with pytest.raises(ValueError, match="API key") as refused:
        chat_client("http://h", api_key=key)
    assert key not in str(refused.value)


def test_https_without_a_context_is_refused():
    with pytest.raises(ValueError, match="TLS"):
        chat_client("https://h")
