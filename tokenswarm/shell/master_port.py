"""The master's port: a secret that both ends must share, and no message that ends its loop.

Locust binds it on every interface, and whoever reaches it may join, gets a share of the traffic and
the run's options, or ends the master's receive loop with one malformed message. It has no event
before its sockets are made, so their two classes are replaced here, as soon as a locustfile imports
tokenswarm.

TOKENSWARM_SECRET, in the environment of master and workers, makes a CURVE key pair (RFC 26):

    private key = scrypt(secret, n = 2^14, r = 8, p = 1), 32 bytes; public key = its curve point

The master uses it as its own. A worker that knows the secret knows the master's public key, which
is never sent; without it no handshake succeeds, and the connection is encrypted.
"""

from __future__ import annotations

from locust.exception import RPCError
from locust.rpc import Message, zmqrpc
from locust.runners import MasterRunner

import hashlib
import logging
import os
import sys
from typing import NoReturn

import zmq.green as zmq
from zmq.utils import z85

from tokenswarm.exit_codes import BAD_INPUT

logger = logging.getLogger("tokenswarm")

SECRET_VARIABLE = "TOKENSWARM_SECRET"
_SALT = b"tokenswarm: the master's port"
_SCRYPT_N = 2**14  # 16 MiB and some 50 ms: interactive use, RFC 7914


def install() -> None:
    """For every socket that Locust makes from now on."""
    zmqrpc.Server = Server  # type: ignore[misc]
    zmqrpc.Client = Client  # type: ignore[misc]


def key_pair(secret: str) -> tuple[bytes, bytes]:
    """Public and private, as ZeroMQ writes them."""
    private = z85.encode(
        hashlib.scrypt(secret.encode(), salt=_SALT, n=_SCRYPT_N, r=8, p=1, dklen=32)
    )
    return zmq.curve_public(private), private


class Server(zmqrpc.Server):
    """The master's. dropped: messages that were none."""

    def __init__(self, host: str, port: int) -> None:
        """Leaves with exit code 2 where the port is busy, or open to others without a secret."""
        self.dropped = 0
        secret = os.environ.get(SECRET_VARIABLE)
        if not secret and not is_loopback(host):
            _refuse(
                f"--master-bind-host {host!r}: whoever reaches the port could join and read the "
                f"run's options; accepted: a {SECRET_VARIABLE} in the environment of master and "
                "workers, or 127.0.0.1"
            )
        zmqrpc.BaseSocket.__init__(self, zmq.ROUTER, self.ipv4_only(host, port))
        if secret:
            self.socket.curve_publickey, self.socket.curve_secretkey = key_pair(secret)
            self.socket.curve_server = True
        self.port = self._bind(host, port)

    def _bind(self, host: str, port: int) -> int:
        try:
            if port:
                self.socket.bind(f"tcp://{host}:{port}")
                return port
            return int(self.socket.bind_to_random_port(f"tcp://{host}"))
        except zmq.ZMQError as error:
            _refuse(
                f"--master-bind-port {port}: {error.strerror}; accepted: a port that is free on "
                f"{host}"
            )

    def recv_from_client(self) -> tuple[str, Message]:
        """The next message; what is none is dropped and counted."""
        while True:
            try:
                frames = self.socket.recv_multipart()
            except zmq.ZMQError as error:
                raise RPCError("ZMQ network broken") from error
            try:
                address, body = frames
                message = Message.unserialize(body)
                if not isinstance(message.type, str) or message.node_id != address.decode():
                    raise ValueError("neither of a kind nor from whom it says")
                return message.node_id, message
            except Exception as error:  # msgpack raises what it likes
                self.drop(error)

    def drop(self, error: Exception) -> None:
        """Said the 1st, 2nd, 4th, 8th time."""
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:
            logger.warning(
                "a malformed message on the master's port was dropped, %d so far: %s",
                self.dropped,
                error,
            )


class Client(zmqrpc.Client):
    """A worker's."""

    def __init__(self, host: str, port: int, identity: str) -> None:
        zmqrpc.BaseSocket.__init__(self, zmq.DEALER, self.ipv4_only(host, port))
        self.socket.setsockopt(zmq.IDENTITY, identity.encode())
        if secret := os.environ.get(SECRET_VARIABLE):
            self.socket.curve_serverkey, _ = key_pair(secret)
            self.socket.curve_publickey, self.socket.curve_secretkey = zmq.curve_keypair()
        self.socket.connect(f"tcp://{host}:{port}")


def guard(runner: MasterRunner) -> None:
    """A message of the right form with nonsense in it ends the receive loop no more than others."""
    handle = runner.handle_message

    def guarded(client_id: str, msg: Message) -> None:
        try:
            handle(client_id, msg)
        except Exception as error:
            assert isinstance(runner.server, Server)
            runner.server.drop(error)

    runner.handle_message = guarded  # type: ignore[method-assign]


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1", "[::1]") or host.startswith("127.")


def _refuse(reason: str) -> NoReturn:
    print(f"tokenswarm: {reason}", file=sys.stderr)
    raise SystemExit(BAD_INPUT)
