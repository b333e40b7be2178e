"""Real sockets of master and workers: who may talk, and what nobody may break."""

from __future__ import annotations

from locust.rpc import Message
from locust.runners import MasterRunner

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import gevent
import pytest
import zmq.green as zmq

from tokenswarm.exit_codes import BAD_INPUT
from tokenswarm.shell.master_port import SECRET_VARIABLE, Client, Server, guard, key_pair

HERE = "127.0.0.1"
LIMIT_S = 10.0
SILENCE_S = 0.5


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv(SECRET_VARIABLE, "of both")
    return monkeypatch


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(HERE, 0)
    yield server
    server.close(linger=0)


def said(server: Server, limit_s: float = LIMIT_S) -> str | None:
    """The kind of the next message."""
    with gevent.Timeout(limit_s, False):
        return str(server.recv_from_client()[1].type)
    return None


def send(client: Client, kind: str) -> None:
    identity = client.socket.getsockopt(zmq.IDENTITY)
    assert isinstance(identity, bytes)
    client.send(Message(kind, None, identity.decode()))


def test_who_shares_the_secret_is_heard(secret, server):
    client = Client(HERE, server.port, "a")
    send(client, "hello")
    assert said(server) == "hello"
    server.send_to_client(Message("welcome", 1, "a"))
    assert client.recv().data == 1


@pytest.mark.parametrize("other", ["of another", None])
def test_who_does_not_is_not(secret, server, other):
    if other is None:
        secret.delenv(SECRET_VARIABLE)
    else:
        secret.setenv(SECRET_VARIABLE, other)
    stranger = Client(HERE, server.port, "stranger")
    send(stranger, "hello")
    assert said(server, SILENCE_S) is None
    secret.setenv(SECRET_VARIABLE, "of both")
    friend = Client(HERE, server.port, "friend")
    send(friend, "good day")
    assert said(server) == "good day"
    stranger.close(linger=0)


def test_the_same_secret_makes_the_same_keys():
    assert key_pair("a") == key_pair("a") != key_pair("b")


def test_malformed_messages_are_dropped_and_counted(server):
    client = Client(HERE, server.port, "a")
    malformed: list[list[bytes]] = [
        [b""],
        [b"\xc1"],
        [b"not msgpack at all"],
        [b"one", b"too many"],
        [b"\x01"],
        [b"\x92\xa5hello\xc0"],  # two of the three parts
        [Message("hello", None, "somebody else").serialize()],
        [Message(["a kind"], None, "a").serialize()],
    ]
    for frames in malformed:
        client.socket.send_multipart(frames)
    send(client, "hello")
    assert said(server) == "hello"
    assert server.dropped == len(malformed)


def test_nonsense_in_a_message_does_not_end_the_loop(server):
    def handle(client_id: str, message: Message) -> None:
        raise KeyError("user_classes_count")

    runner = SimpleNamespace(server=server, handle_message=handle)
    guard(cast(MasterRunner, runner))
    runner.handle_message("a", Message("spawning_complete", {}, "a"))
    assert server.dropped == 1


def test_a_port_for_all_needs_a_secret(capsys, monkeypatch):
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    with pytest.raises(SystemExit) as left:
        Server("*", 0)
    assert left.value.code == BAD_INPUT
    assert "--master-bind-host '*'" in capsys.readouterr().err


def test_a_busy_port_is_one_line(capsys):
    with socket.create_server((HERE, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as left:
            Server(HERE, port)
    assert left.value.code == BAD_INPUT
    assert f"--master-bind-port {port}: Address already in use" in capsys.readouterr().err
