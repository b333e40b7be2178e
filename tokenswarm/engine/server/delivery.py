"""Delivery: an answer on its way to the client, chunk by chunk or whole, until it hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import Receive, Scope, Send

from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.server.answer import Answer, CacheUse
from tokenswarm.engine.server.lead import Seat
from tokenswarm.engine.server.live import Stream


@dataclass(frozen=True, slots=True)
class Delivery:
    """A response. headers: of any answer of the engine."""

    seat: Seat
    answer: Answer
    stream: Stream
    cache_use: Callable[[Sequence], CacheUse]
    headers: dict[str, str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watching = asyncio.create_task(_wait_for_hangup(receive))
        watching.add_done_callback(lambda _: self.seat.cancel(self.stream))
        try:
            await (self._in_chunks if self.answer.streamed else self._whole)(send)
        finally:
            watching.cancel()
            self.seat.cancel(self.stream)

    async def _in_chunks(self, send: Send) -> None:
        answer, stream = self.answer, self.stream
        await self._start(
            send, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        )
        written = 0
        while written < answer.reply.num_tokens:
            pieces = await stream.news()
            if stream.cancelled:
                return
            cache = self.cache_use(stream.sequence)
            events = [] if written else [answer.opening(cache)]
            for reached, at_s in pieces:
                events.append(answer.event(written, reached, cache, at_s))
                written = reached
            body = b"".join(events)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": answer.closing(cache)})

    async def _whole(self, send: Send) -> None:
        while not self.stream.finished:
            await self.stream.news()
            if self.stream.cancelled:
                return
        body = self.answer.whole(self.cache_use(self.stream.sequence))
        length = str(len(body))
        await self._start(send, {"content-type": "application/json", "content-length": length})
        await send({"type": "http.response.body", "body": body})

    async def _start(self, send: Send, headers: dict[str, str]) -> None:
        head = MutableHeaders({**headers, **self.headers})
        await send({"type": "http.response.start", "status": 200, "headers": head.raw})


async def _wait_for_hangup(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
