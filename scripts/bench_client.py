"""What one long turn costs the client: CPU of sending 400 KB, and of each chunk it receives.

A 100k-token prompt is about 400 KB in about 500 segments. The sink that swallows it is another
process; the rows are user and system CPU of this one, on loopback.

    python scripts/bench_client.py
"""

from __future__ import annotations

import multiprocessing
import socket
import time
from multiprocessing.connection import Connection

from tabulate import tabulate

from tokenswarm.client.dialects import CHAT
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.stream import ChatClient, Timeouts

SEGMENTS = 500
SEGMENT_BYTES = 800
TURNS = 300
FEW_CHUNKS = 2
MANY_CHUNKS = 200
CHUNK_S = 0.0005  # apart, so that each is a read of its own

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = (
    b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":17,'
    b'"model":"m","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}\n\n'
)
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


def sink(ports: Connection, chunks: int, gap_s: float) -> None:
    """Read requests of one connection after the other, answer each with so many chunks."""
    listener = socket.create_server(("127.0.0.1", 0))
    ports.send(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while swallow(connection):
            connection.sendall(HEAD)
            for _ in range(chunks):
                time.sleep(gap_s)
                connection.sendall(CHUNK)
            connection.sendall(END)


def swallow(connection: socket.socket) -> bool:
    """Read one request; False at the end of the connection."""
    received = connection.recv(65536)
    while received and b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    if not received:
        return False
    left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) - len(body)
    while left > 0:
        left -= len(connection.recv(1 << 20))
    return True


def cpu_per_turn_s(segments: int, chunks: int, gap_s: float, turns: int) -> float:
    """Median CPU seconds of preparing, sending and receiving one turn."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=sink, args=(theirs, chunks, gap_s), daemon=True)
    server.start()
    client = ChatClient(
        Endpoint.parse(f"http://127.0.0.1:{ours.recv()}"),
        api_key="sk-bench",
        timeouts=Timeouts(),
        tls=None,
    )
    history = [b"x" * SEGMENT_BYTES] * segments
    spent_s = []
    for _ in range(turns):
        before_s = time.process_time()
        body = [CHAT.opening("m", (), b"", {}), *history, CHAT.closing(450)]
        turn = client.send(body, sum(map(len, body)))
        spent_s.append(time.process_time() - before_s)
        if turn.outcome != "ok":
            raise RuntimeError(f"the sink's answer was not understood: {turn}")
    client.close()
    server.terminate()
    return sorted(spent_s)[turns // 2]


def main() -> list[tuple[str, float, str]]:
    """Rows of (name, value, unit), printed as a table. CPU of this process only."""
    long_s = cpu_per_turn_s(SEGMENTS, FEW_CHUNKS, 0.0, TURNS)
    short_s = cpu_per_turn_s(1, FEW_CHUNKS, 0.0, TURNS)
    many_s = cpu_per_turn_s(1, MANY_CHUNKS, CHUNK_S, TURNS // 20)
    rows = [
        ("CPU of a turn of 400 KB in 500 segments, 2 chunks back", long_s * 1e3, "ms"),
        ("CPU of a turn of 1 KB, 2 chunks back", short_s * 1e3, "ms"),
        ("CPU of preparing and sending 400 KB (the difference)", (long_s - short_s) * 1e3, "ms"),
        ("CPU per output chunk", (many_s - short_s) / (MANY_CHUNKS - FEW_CHUNKS) * 1e6, "us"),
    ]
    print(tabulate(rows, headers=("what", "value", "unit"), floatfmt=".3f"))
    return rows


if __name__ == "__main__":
    main()
