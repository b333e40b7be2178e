"""Server: an endpoint in real time that writes down every request, for `count`. Prints its port.

    python -m scripts.faults.server LOG

An answer takes TTFT_S and then GAP_S for each of its CHUNKS. The log's lines outlive a kill.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from itertools import count

import orjson

SESSION_HEADER = "x-session-id"
TTFT_S = 0.08
GAP_S = 0.02
CHUNKS = 15  # 0.3 s of answer: at 9 turns a second some four are under way when a fault strikes

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Log:
    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._numbers = count()

    def begin(self, session: str, body: bytes) -> int:
        number = next(self._numbers)
        digest = hashlib.sha256(body).hexdigest()
        self._write(number, "began", {"session": session, "digest": digest})
        return number

    def note(self, number: int, what: str) -> None:
        self._write(number, what, {})

    def _write(self, number: int, what: str, more: dict[str, str]) -> None:
        line = {"number": number, "what": what, "at": time.monotonic(), **more}
        os.write(self._file, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


async def answer(log: Log, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            if head[0].startswith("GET"):
                _say(writer, head[0].split()[1])
            else:
                await _stream(log, log.begin(fields.get(SESSION_HEADER, ""), body), writer)
    except (OSError, asyncio.IncompleteReadError):
        writer.close()


def _say(writer: asyncio.StreamWriter, path: str) -> None:
    known = path == "/v1/models"
    body = orjson.dumps({"data": [{"id": "counted"}]} if known else {})
    status = b"200 OK" if known else b"404 Not Found"
    writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))


async def _stream(log: Log, number: int, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(TTFT_S)
    writer.write(HEAD)
    for _ in range(CHUNKS):
        writer.write(event({"content": "word "}))
        await writer.drain()
        await asyncio.sleep(GAP_S)
    log.note(number, "last")
    done = b"data: [DONE]\n\n"
    writer.write(event({}, "stop") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(done), done))
    await writer.drain()
    if not writer.transport.is_closing():
        log.note(number, "sent")


async def main(path: str) -> None:
    log = Log(path)
    server = await asyncio.start_server(
        lambda reader, writer: answer(log, reader, writer), "127.0.0.1", 0, limit=2**20
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
