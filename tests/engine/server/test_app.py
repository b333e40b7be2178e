"""The application in-process, where a client can be as deaf or as absent as it likes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.engine.server.app import EngineApp
from tokenswarm.engine.server.prompt_tokens import TokenCounter
from tokenswarm.engine.server.settings import Settings

COUNTER = TokenCounter("bytes4", lambda m: len(m["content"]) // 4, lambda tools: len(tools), 3)


class Client:
    """One HTTP exchange. `reads` decides when a write returns; `hang_up` ends the connection."""

    def __init__(self, app: EngineApp, reads: Callable[[], Awaitable[None]]) -> None:
        self.written: list[bytes] = []
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.hang_up = asyncio.Event()
        self._app = app
        self._reads = reads

    async def post(self, max_tokens: int, num_words: int = 100) -> None:
        message = {"role": "user", "content": "word " * num_words}
        fields = {"model": "m", "messages": [message], "max_tokens": max_tokens, "stream": True}
        await self._exchange("POST", "/v1/chat/completions", json.dumps(fields).encode())

    async def get(self, path: str, query: bytes = b"") -> bytes:
        await self._exchange("GET", path, b"", query=query)
        return b"".join(self.written)

    async def post_half(self) -> None:
        """The rest of the body never comes."""
        await self._exchange("POST", "/v1/chat/completions", b"{", more_body=True)

    async def _exchange(
        self, method: str, path: str, body: bytes, more_body: bool = False, query: bytes = b""
    ) -> None:
        incoming = [{"type": "http.request", "body": body, "more_body": more_body}]

        async def receive():
            if incoming:
                return incoming.pop()
            await self.hang_up.wait()
            return {"type": "http.disconnect"}

        async def send(event):
            if event["type"] == "http.response.start":
                self.status, self.headers = event["status"], dict(event["headers"])
                return
            await self._reads()
            self.written.append(event["body"])

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [],
            "query_string": query,
        }
        await self._app(scope, receive, send)


async def at_once() -> None:
    return None


async def never() -> None:
    await asyncio.Event().wait()


def with_app(scenario: Callable[[EngineApp], Awaitable[None]], **changes: Any) -> None:
    async def run() -> None:
        preset = PRESETS["trtllm-like"]
        preset = replace(preset, replicas=changes.pop("replicas", 1))
        settings = Settings(preset=preset, model="m", speed=100, body_timeout_s=0.05, **changes)
        app = EngineApp(settings, COUNTER)
        started, stop = asyncio.Event(), asyncio.Event()
        events = iter([at_once, stop.wait])

        async def receive():
            await next(events)()
            return {"type": "lifespan"}

        async def send(event):
            started.set()

        life = asyncio.create_task(app({"type": "lifespan"}, receive, send))
        await started.wait()
        await asyncio.wait_for(scenario(app), 20)
        stop.set()
        await life

    asyncio.run(run())


async def value(app: EngineApp, name: str) -> float:
    text = (await Client(app, at_once).get("/metrics")).decode()
    (line,) = [line for line in text.splitlines() if line.startswith(name + "{")]
    return float(line.rsplit(" ", 1)[1])


def test_a_client_that_never_reads_holds_up_nobody_and_its_blocks_are_freed():
    async def scenario(app: EngineApp) -> None:
        deaf = Client(app, never)
        task = asyncio.create_task(deaf.post(max_tokens=2_000))
        listening = Client(app, at_once)
        await listening.post(max_tokens=500)
        assert listening.written[-1].endswith(b"[DONE]\n\n")
        while await value(app, "sim:requests_finished_total") < 2:
            await asyncio.sleep(0.01)
        assert await value(app, "vllm:kv_cache_usage_perc") == 0
        assert deaf.written == [] and not task.done()
        task.cancel()

    with_app(scenario)


def test_a_client_that_hangs_up_in_the_queue_or_mid_stream_leaves_nothing_behind():
    async def scenario(app: EngineApp) -> None:
        clients = [Client(app, at_once) for _ in range(80)]  # 64 run, 16 wait
        tasks = [asyncio.create_task(client.post(max_tokens=3_000)) for client in clients]
        while await value(app, "vllm:num_requests_running") < 64:
            await asyncio.sleep(0.01)
        for client in clients:
            client.hang_up.set()
        await asyncio.gather(*tasks)
        assert await value(app, "sim:requests_cancelled_total") == 80
        assert await value(app, "vllm:num_requests_waiting") == 0
        assert await value(app, "vllm:num_requests_running") == 0
        assert await value(app, "vllm:kv_cache_usage_perc") == 0

    with_app(scenario)


def test_a_body_that_stops_coming_is_given_up():
    async def scenario(app: EngineApp) -> None:
        client = Client(app, at_once)
        await client.post_half()
        assert client.status == 408
        assert json.loads(client.written[0])["error"]["code"] == "request_timeout"

    with_app(scenario)


def test_long_new_text_is_counted_in_a_thread_with_the_same_result():
    async def scenario(app: EngineApp) -> None:
        client = Client(app, at_once)
        await client.post(max_tokens=2, num_words=20_000)
        assert client.status == 200
        assert await value(app, "vllm:prompt_tokens_total") == 25_000 + 3

    with_app(scenario)


def test_a_bug_in_the_engine_loop_ends_the_process_instead_of_hanging():
    async def scenario(app: EngineApp) -> None:
        stopped = asyncio.Event()
        app.on_failure = stopped.set

        async def broken() -> None:
            raise ZeroDivisionError

        app._stopped(await finished(broken()))
        assert stopped.is_set()
        assert isinstance(app.failure, ZeroDivisionError)
        client = Client(app, at_once)
        await client.get("/health")
        assert client.status == 503

    async def finished(work) -> asyncio.Task:
        task = asyncio.ensure_future(work)
        await asyncio.wait([task])
        return task

    with_app(scenario)


def test_replicas_name_themselves_in_answers_and_on_their_pages():
    async def scenario(app: EngineApp) -> None:
        named = []
        for _ in range(3):
            client = Client(app, at_once)
            await client.post(max_tokens=3)
            named.append(client.headers[b"x-replica"])
        assert named == [b"0", b"1", b"0"]
        for query, finished in ((b"replica=0", [2]), (b"replica=1", [1]), (b"", [2, 1])):
            text = (await Client(app, at_once).get("/metrics", query)).decode()
            lines = [li for li in text.splitlines() if li.startswith("sim:requests_finished_total")]
            assert [float(line.rsplit(" ", 1)[1]) for line in lines] == finished
        refused = Client(app, at_once)
        assert b"0 to 1" in await refused.get("/metrics", b"replica=2") and refused.status == 400
        info = json.loads(await Client(app, at_once).get("/sim/info"))
        assert (info["replicas"], info["gpus"], info["router"]) == (2, 8, "round-robin")

    with_app(scenario, replicas=2)


def test_the_replicas_name_can_be_left_out():
    async def scenario(app: EngineApp) -> None:
        client = Client(app, at_once)
        await client.post(max_tokens=3)
        assert client.status == 200 and b"x-replica" not in client.headers

    with_app(scenario, replica_header=False)
