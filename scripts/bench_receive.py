"""What receiving costs a worker: CPU per event of many streams at once, and how true first tokens
are meanwhile.

A server in a process of its own stamps each first output just before it sends it. Streams are in
lock-step (every stream's chunk at once, as one engine step sends them) or each at its own phase.
CPU is the client's, user and system, by the events it received; wall time plays no part.

    python scripts/bench_receive.py [--against FOLDER] [--rounds 3]

--against: a checkout of another commit; both are measured in turns, round by round, and the last
columns are the other's CPU and ours by its.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tabulate import tabulate

ROOT = Path(__file__).resolve().parent.parent
STREAMS = 400
CHUNKS = 100
GAP_S = 0.02  # 50 tokens a second, one a chunk
LOAD_GAP_S = 0.04  # 20k events a second leave two cores no room for random phases
ROUNDS = 3
SEED = 7

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TEXTS = (
    *(b"\\n        if", b" count", b" is", b" None", b":", b"\\n ", b" return", b" self"),
    *(b' \\"a\\"', " é".encode()),
)


def _chat(serial: int, text: bytes) -> bytes:
    """As vLLM writes it."""
    return (
        b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk",'
        b'"created":1780000000,"model":"kimi-k2.5","choices":[{"index":0,'
        b'"delta":{"content":"%b"},"logprobs":null,"finish_reason":null}]}\n\n' % text
    )


def _messages(serial: int, text: bytes) -> bytes:
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"%b"}}\n\n' % text
    )


def _responses(serial: int, text: bytes) -> bytes:
    return (
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
        b'"sequence_number":%d,"item_id":"msg_0123456789abcdef","output_index":0,'
        b'"content_index":0,"delta":"%b","logprobs":[]}\n\n' % (serial, text)
    )


@dataclass(frozen=True)
class Wire:
    """One dialect's answer: what comes before output, an output chunk, what ends it."""

    begin: bytes
    output: Callable[[int, bytes], bytes]
    end: bytes


WIRES = {
    "chat": Wire(
        b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
        _chat,
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    ),
    "messages": Wire(
        b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n',
        _messages,
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}'
        b'\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
    ),
    "responses": Wire(
        b'event: response.created\ndata: {"type":"response.created"}\n\n',
        _responses,
        b'event: response.completed\ndata: {"type":"response.completed","response":'
        b'{"status":"completed"}}\n\n',
    ),
}


def framed(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


@dataclass(frozen=True)
class Load:
    dialect: str
    in_step: bool
    gap_s: float

    @property
    def name(self) -> str:
        phase = "lock-step" if self.in_step else "random phases"
        return f"{self.dialect}, {phase}, {STREAMS / self.gap_s:,.0f} events/s"


LOADS = (
    Load("chat", True, GAP_S),
    Load("chat", False, LOAD_GAP_S),
    Load("messages", True, GAP_S),
    Load("responses", True, GAP_S),
)


class Server:
    """Answers rounds of STREAMS requests: a round begins when all have come."""

    def __init__(self, ports: Connection) -> None:
        self._ports = ports
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=STREAMS)
        ports.send(self._listener.getsockname()[1])

    def serve(self) -> None:
        """One client after the other: a load in, the first outputs' stamps of its rounds out."""
        while True:
            load, rounds = self._ports.recv()
            connections = [self._listener.accept()[0] for _ in range(STREAMS)]
            for connection in connections:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ports.send([self._round(load, connections) for _ in range(rounds)])
            for connection in connections:
                connection.close()

    def _round(self, load: Load, connections: list[socket.socket]) -> dict[int, float]:
        order = [(_asked(connection), connection) for connection in connections]
        wire = WIRES[load.dialect]
        for _, connection in order:
            connection.sendall(HEAD + framed(wire.begin))
        firsts: dict[int, float] = {}
        began_s = time.monotonic() + 0.1
        for at_s, serial, (stream, connection) in _schedule(load, order):
            while time.monotonic() < began_s + at_s:
                time.sleep(max(0.0, began_s + at_s - time.monotonic()))
            output = framed(wire.output(serial, TEXTS[(serial + stream) % len(TEXTS)]))
            if serial == 0:
                firsts[stream] = time.monotonic()
            connection.sendall(output)
        for _, connection in order:
            connection.sendall(framed(wire.end) + b"0\r\n\r\n")
        return firsts


def _asked(connection: socket.socket) -> int:
    """The number of the stream, from its request's body."""
    received = b""
    while not received.endswith(b"}"):
        select.select([connection], [], [])
        received += connection.recv(65536)
    return int(json.loads(received.rpartition(b"\r\n\r\n")[2])["stream"])


def _schedule(
    load: Load, order: list[tuple[int, socket.socket]]
) -> Iterator[tuple[float, int, tuple[int, socket.socket]]]:
    """When, the how manieth, to whom: in order of time."""
    rng = random.Random(SEED)
    phases_s = [0.0 if load.in_step else rng.uniform(0.0, load.gap_s) for _ in order]
    by_phase = sorted(range(len(order)), key=phases_s.__getitem__)
    for serial in range(CHUNKS):
        for i in by_phase:
            yield serial * load.gap_s + phases_s[i], serial, order[i]


def serve(ports: Connection) -> None:
    Server(ports).serve()


def client(port: int, dialect: str, rounds: int) -> None:
    """The measured process, with the tree of PYTHONPATH: one line of JSON out."""
    import gevent

    from tokenswarm.client.dialects import DIALECTS
    from tokenswarm.client.endpoint import Endpoint
    from tokenswarm.client.stream import ChatClient, Timeouts

    endpoint = Endpoint.parse(f"http://127.0.0.1:{port}")
    clients = [
        ChatClient(endpoint, api_key=None, timeouts=Timeouts(), tls=None, dialect=DIALECTS[dialect])
        for _ in range(STREAMS)
    ]

    def turn(stream: int) -> float:
        body = b'{"stream":%d}' % stream
        seen = clients[stream].send([body], len(body))
        if (seen.outcome, seen.output_chunks) != ("ok", CHUNKS):
            raise RuntimeError(f"the answer was not understood: {seen}")
        assert seen.first_token_at is not None
        return seen.first_token_at

    def one_round() -> list[float]:
        turns = [gevent.spawn(turn, stream) for stream in range(STREAMS)]
        gevent.joinall(turns, raise_error=True)
        return [turn.value for turn in turns]

    one_round()  # connections, imports and caches are not what is measured
    before_s = time.process_time()
    firsts = [one_round() for _ in range(rounds - 1)]
    print(json.dumps({"cpu_s": time.process_time() - before_s, "firsts": firsts}))


@dataclass(frozen=True)
class Seen:
    """Of one client: CPU in seconds per event, and how far its first tokens are off, in seconds."""

    cpu_s: float
    errors_s: list[float]


def measured(tree: Path, ports: Connection, port: int, load: Load) -> Seen:
    rounds = 2
    ports.send((load, rounds))
    ran = subprocess.run(
        [sys.executable, __file__, "--client", str(port), load.dialect, str(rounds)],
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(ran.stdout)
    truth = ports.recv()[1:]
    errors_s = [
        abs(at_s - sent[stream])
        for seen, sent in zip(found["firsts"], truth, strict=True)
        for stream, at_s in enumerate(seen)
    ]
    return Seen(found["cpu_s"] / (STREAMS * CHUNKS * (rounds - 1)), errors_s)


def main(against: Path | None = None, rounds: int = ROUNDS) -> list[tuple[str, float, str]]:
    """Rows of (name, value, unit), printed as a table beside those of the other tree."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    trees = [ROOT] if against is None else [against.resolve(), ROOT]
    rows, table = [], []
    for load in LOADS:
        seen: dict[Path, list[Seen]] = {tree: [] for tree in trees}
        for _ in range(rounds):
            for tree in trees:
                seen[tree].append(measured(tree, ours, port, load))
        line: list[object] = [load.name]
        for tree in reversed(trees):
            cpu_us = statistics.median(one.cpu_s for one in seen[tree]) * 1e6
            errors_s = [error for one in seen[tree] for error in one.errors_s]
            line += [cpu_us, *(value * 1e3 for value in _p50_p99(errors_s))]
        if against is not None:
            pairs = zip(seen[ROOT], seen[trees[0]], strict=True)
            line.append(statistics.median(us.cpu_s / them.cpu_s for us, them in pairs))
        table.append(line)
        rows += [
            (f"{load.name}: CPU per event", float(str(line[1])), "us"),
            (f"{load.name}: first-token error p99", float(str(line[3])), "ms"),
        ]
    server.terminate()
    headers = ["load", "CPU us", "error p50 ms", "p99 ms"]
    if against is not None:
        headers += ["before: CPU us", "error p50 ms", "p99 ms", "CPU ratio"]
    print(tabulate(table, headers, floatfmt=".3g"))
    return rows


def _p50_p99(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        client(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
        raise SystemExit
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    main(asked.against, asked.rounds)
