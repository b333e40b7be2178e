from pathlib import Path

import gevent
import pytest
import trustme

from tests.support.scripted_server import (
    STREAM_HEAD,
    ScriptedServer,
    answer,
    chunk,
    delta,
    event,
    read,
    reset,
    send,
    sleep,
    wait_close,
)
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.stream import ChatClient, Timeouts, tls_context

HI = delta(content="hi")
TIMEOUTS = Timeouts(connect_s=5.0, first_token_s=5.0, stall_s=5.0)
# Four chunks with time between them, then a second turn on the same connection.
CHUNKS = [step for _ in range(4) for step in (sleep(0.05), send(chunk(event(HI))))]
END = answer(delta("stop")).removeprefix(STREAM_HEAD)
SCRIPTS = {
    "stream": [
        read(),
        send(STREAM_HEAD),
        *CHUNKS,
        send(END),
        read(),
        send(answer(HI)),
        wait_close(),
    ],
    "closed": [read(), send(STREAM_HEAD + chunk(event(HI)))],
    "cut": [read(), send(STREAM_HEAD + chunk(event(HI))), reset()],
}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority, tmp_path):
    file = tmp_path / "server.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        file
    )
    with ScriptedServer(SCRIPTS, certificate=file) as server:
        yield server


@pytest.fixture
def ca_file(authority, tmp_path) -> Path:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return file


def client(url: str, context) -> ChatClient:
    return ChatClient(Endpoint.parse(url), api_key=None, timeouts=TIMEOUTS, tls=context)


def test_a_turn_over_tls_keeps_its_stamps_and_its_connection(server, ca_file):
    chat = client(server.url("stream", "localhost"), tls_context(True, str(ca_file)))
    body = [b"x" * 1000] * 500
    turn = chat.send(body, 500_000)
    sends = server.sends("stream")
    again = chat.send(body, 500_000)
    chat.close()
    assert (turn.outcome, turn.output_chunks, turn.coalesced_reads) == ("ok", 4, 0)
    assert (again.outcome, again.new_connection) == ("ok", False)
    assert server.log("stream")[1]["body_bytes"] == 500_000
    if turn.stamps == "kernel":
        first = sends[1]
        assert first["before"] - 0.002 < turn.first_token_at < first["after"] + 0.002


def test_kernel_stamps_are_there_under_tls(server):
    chat = client(server.url("stream"), tls_context(False, None))
    plain_server = {"s": [read(), sleep(0.2), send(answer(HI)), wait_close()]}
    with ScriptedServer(plain_server) as plain:
        expected = client(plain.url("s"), None).send([b"{}"], 2).stamps
    assert chat.send([b"{}"], 2).stamps == expected


def test_a_certificate_nobody_vouches_for_is_a_tls_failure(server):
    turn = client(server.url("stream", "localhost"), tls_context(True, None)).send([b"{}"], 2)
    assert (turn.outcome, turn.sent_at) == ("tls", None)
    assert "certificate" in turn.detail.lower()


def test_a_certificate_for_another_name_is_a_tls_failure(authority, ca_file, tmp_path):
    file = tmp_path / "other.pem"
    authority.issue_cert("other.example").private_key_and_cert_chain_pem.write_to_path(file)
    context = tls_context(True, str(ca_file))
    with ScriptedServer(SCRIPTS, certificate=file) as server:
        turn = client(server.url("stream", "localhost"), context).send([b"{}"], 2)
    assert turn.outcome == "tls"


@pytest.mark.parametrize("script", [[send(b"HTTP/1.1 400 No\r\n\r\n")], [], [sleep(0.2), reset()]])
def test_a_server_without_tls_is_a_tls_failure(script):
    with ScriptedServer({"s": script}) as server:
        url = server.url("s").replace("http:", "https:")
        assert client(url, tls_context(False, None)).send([b"{}"], 2).outcome == "tls"


def test_a_handshake_that_never_ends_is_a_connect_timeout():
    with ScriptedServer({"s": [wait_close()]}) as server:
        url = server.url("s").replace("http:", "https:")
        chat = ChatClient(
            Endpoint.parse(url),
            api_key=None,
            timeouts=Timeouts(connect_s=0.3),
            tls=tls_context(False, None),
        )
        with gevent.Timeout(10):
            assert chat.send([b"{}"], 2).outcome == "connect_timeout"


@pytest.mark.parametrize("script", ["closed", "cut"])
def test_a_stream_cut_under_tls_is_truncated(script, server):
    turn = client(server.url(script), tls_context(False, None)).send([b"{}"], 2)
    assert turn.outcome == "truncated"


def test_a_ca_file_that_cannot_be_used_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="nowhere.pem"):
        tls_context(True, str(tmp_path / "nowhere.pem"))
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    with pytest.raises(ValueError, match="empty.pem"):
        tls_context(True, str(empty))
