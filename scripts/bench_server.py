"""What the engine's HTTP server costs, and how late it is, against its targets.

Five engines in processes of their own, on loopback; CPU and memory are the engine's, user and
system. Rows 1 to 3 use an engine whose steps take no time, so that nothing but the server is left.

    python scripts/bench_server.py
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

import psutil
from tabulate import tabulate

from tokenswarm.commands.engine import listen, serve, token_counter
from tokenswarm.engine.core.scheduler import Policy
from tokenswarm.engine.core.speculation import Speculation
from tokenswarm.engine.core.step_time import Coefficients
from tokenswarm.engine.physics.presets import PRESETS, Preset
from tokenswarm.engine.server.app import EngineApp
from tokenswarm.engine.server.reply_text import content_tape
from tokenswarm.engine.server.settings import Settings

MESSAGE_TOKENS = 186
MESSAGE_PIECES = 154  # of the tape; measured: 186 tokens and 807 bytes with the rest
LONG_MESSAGES = 500  # 93k tokens, 404 KB
NEW_TOKENS = 8_000
BATCHES, BATCH_REQUESTS = 6, 60
RATE_S = 5.0
SESSIONS = 120
SESSION_MESSAGES = 485  # 90k tokens
STREAMED_S = 20.0
DEVELOPERS = 24  # 2.5M TPM with these pauses
PAUSE_S = 44.0
SPEED = 20.0
LATENESS_S = 25.0

FREE = Preset(
    name="free",
    gpus=1,
    cost=Coefficients(t0_s=0, a1_s=0, a2_s=0, d0_s=0, d1_s=0, d2_s=0),
    speculation=Speculation(),
    policy=Policy(chunk_tokens=10**9, max_running=1_000),
    kv_tokens=1_000_000_000,
    ttft_fixed_s=0.0,
)
_COST = PRESETS["trtllm-like"].cost
assert isinstance(_COST, Coefficients)
# Decode as in trtllm-like; prefill at 200 times the speed and a pool for all: they start at once.
STRESS = replace(
    PRESETS["trtllm-like"],
    name="stress",
    cost=replace(_COST, s_pf=200.0),
    policy=Policy(chunk_tokens=1_000_000, max_running=SESSIONS),
    kv_tokens=20_000_000,
)
# A pool (guess) for all 24 sessions: steps are many and short.
ROOMY = replace(PRESETS["trtllm-like"], kv_tokens=3_000_000)


def run_engine(ports: Connection, preset: Preset, speed: float) -> None:
    settings = Settings(preset=preset, model="m", speed=speed)
    listener = listen("127.0.0.1", 0)
    ports.send(listener.getsockname()[1])
    serve(EngineApp(settings, token_counter("embedded")), listener, settings)


@dataclass(frozen=True)
class Server:
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()


@contextmanager
def engine(preset: Preset, speed: float = 1.0) -> Iterator[Server]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=run_engine, args=(theirs, preset, speed), daemon=True)
    process.start()
    try:
        yield Server(ours.recv(), psutil.Process(process.pid))
    finally:
        process.terminate()
        process.join()


@dataclass
class Client:
    """One connection, one request at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, messages: list[bytes], max_tokens: int) -> bytes:
        """The whole streamed answer."""
        fields = b'],"model":"m","stream":true,"stream_options":{"include_usage":true}'
        body = b'{"messages":[%b%b,"max_tokens":%d}' % (b",".join(messages), fields, max_tokens)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n"
        self.writer.write(head % len(body) + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in answer[:16]:
            raise RuntimeError(f"the engine refused: {answer!r}")
        return await self.reader.readuntil(b"0\r\n\r\n")  # events end with \n\n: no other place

    async def get(self, path: str) -> dict[str, Any]:
        self.writer.write(b"GET %b HTTP/1.1\r\nHost: e\r\n\r\n" % path.encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        found: dict[str, Any] = json.loads(await self.reader.readexactly(size))
        return found


_marks = count()


def messages(number: int) -> list[bytes]:
    """Text that was never sent before."""
    marks = [next(_marks) for _ in range(number)]
    return [
        b'{"role":"user","content":"%d %b"}' % (mark, content_tape().read(mark * 7, MESSAGE_PIECES))
        for mark in marks
    ]


async def cpu_per_request_s(server: Server, new_tokens: int) -> float:
    """CPU of one 400 KB request: a turn of a session whose older text is known, one token back.
    The best of some batches: other processes on the machine only add to it."""
    async with server.connected() as client:
        history = messages(LONG_MESSAGES - new_tokens // MESSAGE_TOKENS)
        await client.ask(history, 1)
        spent_s = []
        for _ in range(BATCHES):
            before_s = server.cpu_s()
            for _ in range(BATCH_REQUESTS):
                await client.ask(history + messages(new_tokens // MESSAGE_TOKENS), 1)
            spent_s.append((server.cpu_s() - before_s) / BATCH_REQUESTS)
        return min(spent_s)


async def requests_per_s(server: Server) -> tuple[float, float]:
    """400 KB requests, 16 tokens back, four at a time, the engine on one core: (per second, per
    second of its CPU). The first is lower where others use that core too."""
    server.process.cpu_affinity([psutil.cpu_count() - 1])
    until_s = time.monotonic() + RATE_S

    async def ask_on() -> int:
        async with server.connected() as client:
            history, asked = messages(LONG_MESSAGES), 0
            await client.ask(history, 16)
            while time.monotonic() < until_s:
                await client.ask(history, 16)
                asked += 1
            return asked

    started_s, before_s = time.monotonic(), server.cpu_s()
    asked = sum(await asyncio.gather(*(ask_on() for _ in range(4))))
    return asked / (time.monotonic() - started_s), asked / (server.cpu_s() - before_s)


async def stream_back_to_back(server: Server) -> tuple[float, float, float]:
    """(share of a core, RSS in MB, mean sessions streaming) with 120 sessions of 90k tokens."""

    async def developer() -> None:
        async with server.connected() as client:
            history = messages(SESSION_MESSAGES)
            while True:
                await client.ask(history, 450)
                history = history[:-8] + messages(8)

    developers = [asyncio.create_task(developer()) for _ in range(SESSIONS)]
    async with server.connected() as client:
        while await running(client) < SESSIONS:
            await asyncio.sleep(0.2)
        before_s, started_s, seen = server.cpu_s(), time.monotonic(), []
        while time.monotonic() < started_s + STREAMED_S:
            await asyncio.sleep(1)
            seen.append(await running(client))
        share = (server.cpu_s() - before_s) / (time.monotonic() - started_s)
        rss = server.process.memory_info().rss
    for task in developers:
        task.cancel()
    await asyncio.gather(*developers, return_exceptions=True)
    return share, rss / 1e6, sum(seen) / len(seen)


async def running(client: Client) -> int:
    return int((await client.get("/sim/info"))["running"])


async def lateness_s(server: Server) -> tuple[float, float]:
    """(step lateness p99, CPU as a share of a core) under 24 developers at speed 20."""

    async def developer(index: int) -> None:
        async with server.connected() as client:
            history = messages(SESSION_MESSAGES)
            await asyncio.sleep(index / DEVELOPERS * PAUSE_S / SPEED)
            while True:
                await client.ask(history, 300)
                added = messages(NEW_TOKENS // MESSAGE_TOKENS)
                history = history[:100] + history[100 + len(added) :] + added
                await asyncio.sleep(PAUSE_S / SPEED)

    developers = [asyncio.create_task(developer(index)) for index in range(DEVELOPERS)]
    await asyncio.sleep(5)
    before_s = server.cpu_s()
    await asyncio.sleep(LATENESS_S)
    share = (server.cpu_s() - before_s) / LATENESS_S
    async with server.connected() as client:
        info = await client.get(f"/sim/info?last_s={LATENESS_S:g}")
    for task in developers:
        task.cancel()
    await asyncio.gather(*developers, return_exceptions=True)
    return info["lateness_p99_s"], share


def main() -> list[tuple[str, float, str]]:
    """Rows of (name, value, unit), printed as a table with the targets."""
    rows: list[tuple[str, float, str, str]] = []
    with engine(FREE) as server:
        known_s = asyncio.run(cpu_per_request_s(server, MESSAGE_TOKENS))
        new_s = asyncio.run(cpu_per_request_s(server, NEW_TOKENS))
        rate, rate_of_cpu = asyncio.run(requests_per_s(server))
    rows.append(("CPU of a 400 KB request, 0.2k new tokens", known_s * 1e3, "ms", "<= 2.5"))
    rows.append(("CPU of a 400 KB request, 8k new tokens", new_s * 1e3, "ms", "<= 2.5"))
    what = "400 KB requests, engine of no cost, one core"
    rows.append((what, rate, "1/s", ">= 100, quiet machine"))
    rows.append((f"{what}: per second of its CPU", rate_of_cpu, "1/s", ">= 100"))
    with engine(STRESS) as server:
        share, rss_mb, streaming = asyncio.run(stream_back_to_back(server))
    what = f"{SESSIONS} sessions of 90k tokens, speed 1"
    rows.append((f"{what}: CPU", share * 100, "% of a core", "<= 10"))
    rows.append((f"{what}: memory", rss_mb, "MB", "<= 300"))
    rows.append((f"{what}: streaming at once, mean", streaming, "", ""))
    with engine(ROOMY, SPEED) as server:
        late_s, share = asyncio.run(lateness_s(server))
    what = f"{DEVELOPERS} developers, speed {SPEED:g}"
    rows.append((f"{what}: step lateness p99", late_s * 1e3, "ms", "<= 5, quiet machine"))
    rows.append((f"{what}: CPU", share * 100, "% of a core", ""))
    busy = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
    rows.append(("machine's load / cores at the end", busy, "", "quiet: below 0.5"))
    print(tabulate(rows, headers=("what", "value", "unit", "target"), floatfmt=".3g"))
    return [row[:3] for row in rows]


if __name__ == "__main__":
    main()
