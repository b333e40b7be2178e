"""What goes out beside the body: headers of the user's own, identities, what is to be echoed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.recording_server import RecordingServer, recording_server
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.headers import HeaderField, Identity, session_id
from tokenswarm.client.stream import ChatClient, Timeouts


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with recording_server() as server:
        yield server


def client(server: RecordingServer, *headers: HeaderField, query: str = "") -> ChatClient:
    return ChatClient(
        Endpoint.parse(server.url, query=query),
        api_key="a-key",
        timeouts=Timeouts(5.0, 5.0, 5.0),
        tls=None,
        headers=headers,
    )


def test_headers_of_the_users_own_replace_ours_of_the_same_name(server):
    mine = (HeaderField("api-key", "k"), HeaderField("authorization", "Bearer mine"))
    sender = client(server, *mine, HeaderField("User-Agent", "codex"), query="api-version=1")
    assert sender.send([b"{}"], 2).outcome == "ok"
    (head,) = server.heads
    assert (head["api-key"], head["user-agent"]) == ("k", "codex")
    assert head["authorization"] == "Bearer mine"
    assert server.paths == ["/v1/chat/completions?api-version=1"]
    sender.close()


def test_each_session_names_itself_and_echoes_its_own_token(server):
    server.tokens = ["one", "two"]
    sender = client(server)
    first, second = (Identity(dict.fromkeys(("X-Session-ID", "x-user"), n)) for n in ("a", "b"))
    for identity in (first, second, first, second):
        assert sender.send([b"{}"], 2, identity=identity).outcome == "ok"
    assert [head["x-session-id"] for head in server.heads] == ["a", "b", "a", "b"]
    assert [head["x-user"] for head in server.heads] == ["a", "b", "a", "b"]
    tokens = [head.get("x-session-token") for head in server.heads]
    assert tokens == [None, None, "one", "two"]
    sender.close()


def test_an_id_is_of_its_run_and_fits_a_header():
    assert session_id("salt", "w0.d1/s2 é") == "salt.w0.d1-s2--"
    assert session_id("", "w0.d1") == "w0.d1"  # --warm: the same in every run


def test_a_secret_is_in_no_representation():
    assert "hunter2" not in repr(HeaderField("api-key", "x hunter2", ("hunter2",)))
