"""The HTTP surface: an ASGI application around the live engine, OpenAI's and Anthropic's API."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import orjson

from tokenswarm.engine.core.fleet import Fleet
from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.core.scheduler import QueueFull
from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.physics.presets import Preset
from tokenswarm.engine.server.answer import Answer, CacheUse
from tokenswarm.engine.server.chat.answer import ChatAnswer
from tokenswarm.engine.server.chat.request import parse_request as parse_chat
from tokenswarm.engine.server.clock import VirtualClock
from tokenswarm.engine.server.errors import ApiError, invalid
from tokenswarm.engine.server.fields import json_object
from tokenswarm.engine.server.lead import FreeSeat, Lead, Seat
from tokenswarm.engine.server.live import LiveEngine, Stream
from tokenswarm.engine.server.messages.answer import MessagesAnswer, error_body
from tokenswarm.engine.server.messages.request import parse_count
from tokenswarm.engine.server.messages.request import parse_request as parse_message
from tokenswarm.engine.server.metrics import EngineMetrics
from tokenswarm.engine.server.prompt_tokens import (
    Prompt,
    PromptReader,
    TokenCounter,
    hash_pieces,
    num_bytes,
    output_segment,
)
from tokenswarm.engine.server.reply_text import arguments_tape, content_tape, draw_reply
from tokenswarm.engine.server.request import Request
from tokenswarm.engine.server.responses.answer import ResponsesAnswer
from tokenswarm.engine.server.responses.request import parse_request as parse_response

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
Respond = Callable[[Event, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 16 * 1024 * 1024  # 20 times a 200k-token prompt; guess
RETRY_AFTER_S = 1  # guess
DEFAULT_MAX_TOKENS = 256  # guess; OpenAI's own default is the rest of the context
# New text beyond this is tokenised in a thread: about 1 ms of work, 10 times the hop's cost.
_THREAD_BYTES = 4_096
_JSON = (b"content-type", b"application/json")
_ALLOW = {"GET": b"GET, HEAD, OPTIONS", "POST": b"POST, OPTIONS"}
_SSE = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
_MODELS = "/v1/models"
_MESSAGES = "/v1/messages"
_SESSION = b"x-session-id"  # what a sticky router goes by
_REPLICA = b"x-replica"
_PROMETHEUS = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a request is read and its answer written."""

    parse: Callable[[bytes], Request]
    answer: type[Answer]


_DIALECTS = {
    "/v1/chat/completions": _Dialect(parse_chat, ChatAnswer),
    _MESSAGES: _Dialect(parse_message, MessagesAnswer),
    "/v1/responses": _Dialect(parse_response, ResponsesAnswer),
}


class _ClientGone(Exception):
    """The client hung up before its request was complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """preset: already with the command line's changes. speed: engine seconds per wall second;
    driven: engine time goes on only as far as a generator says, and speed is 1.
    reasoning_effort: where a request names none. replica_header: answers name the replica.
    """

    preset: Preset
    model: str
    speed: float = 1.0
    driven: bool = False
    seed: int = 0
    context_tokens: int = 262_144
    api_key: str | None = None
    reasoning_effort: str = "none"
    replica_header: bool = True
    body_timeout_s: float = 60.0  # of a whole body, however slowly it drips; guess

    @property
    def max_tokens(self) -> int:
        """Prompt and output together: the context, or the KV pool where that is smaller."""
        return min(self.context_tokens, self.preset.kv_tokens // BLOCK_TOKENS * BLOCK_TOKENS)


class EngineApp:
    """The ASGI application. `failure` is set when the engine loop died: a bug."""

    def __init__(self, settings: Settings, counter: TokenCounter) -> None:
        self.failure: BaseException | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self._settings = settings
        self._tokenizer_name = counter.name
        self._prompts = PromptReader(counter)
        self._tokenising = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenise")
        self._metrics = EngineMetrics(
            settings.model, settings.preset.engine_name, settings.preset.replicas
        )
        self._clock = VirtualClock(settings.speed)
        self._live = LiveEngine(settings.preset.fleet(settings.seed), self._clock, self._metrics)
        self._metrics.attach(self._live, lambda: self._fleet)
        self._lead = Lead(self._new_fleet, self._metrics) if settings.driven else None
        self._numbers = count(1)
        self._created = int(time.time())
        self._headers: Headers = (
            (b"x-sim-speed", b"%g" % settings.speed),
            (b"x-sim-engine", settings.preset.engine_name.encode()),
        )
        model = f"{_MODELS}/{settings.model}"
        self._routes: dict[str, tuple[str, Respond]] = {
            **{path: ("POST", self._generate) for path in _DIALECTS},
            f"{_MESSAGES}/count_tokens": ("POST", self._count_tokens),
            _MODELS: ("GET", self._list_models),
            model: ("GET", self._show_model),
            "/health": ("GET", self._health),
            "/metrics": ("GET", self._exposition),
            "/sim/info": ("GET", self._info),
            "/sim/reset": ("POST", self._reset),
        }
        if self._lead is not None:
            self._routes["/sim/advance"] = ("POST", self._advance)

    def _new_fleet(self, seed: int | None) -> Fleet:
        return self._settings.preset.fleet(self._settings.seed if seed is None else seed)

    @property
    def _fleet(self) -> Fleet:
        """The one that serves: in driven time a run has one of its own."""
        led = self._lead.engine if self._lead is not None else None
        return self._live.fleet if led is None else led.fleet

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                await self._route(scope, receive, send)
            except ApiError as error:
                anthropic = scope["path"].startswith(_MESSAGES)
                body = error_body(error) if anthropic else error.body()
                await self._respond(send, body, error.status, (_JSON, *error.headers))
            except _ClientGone:
                return

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        content_tape(), arguments_tape()  # built now, not under the first request
        stepping = asyncio.create_task(self._live.run())
        stepping.add_done_callback(self._stopped)
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        stepping.cancel()
        if self._lead is not None:
            self._lead.close()
        self._tokenising.shutdown(wait=False, cancel_futures=True)
        await send({"type": "lifespan.shutdown.complete"})

    def _stopped(self, stepping: asyncio.Task[None]) -> None:
        if not stepping.cancelled():
            self.failure = stepping.exception()
            self.on_failure()

    async def _route(self, scope: Event, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        headers = dict(scope["headers"])
        if path.startswith("/v1/") and method != "OPTIONS":
            self._authorize(headers)
        if path not in self._routes:
            raise self._not_found(path)
        accepted, respond = self._routes[path]
        allow = ((b"allow", _ALLOW[accepted]),)
        if method == "OPTIONS":
            return await self._respond(send, b"", 204, allow)
        if method != accepted and (method, accepted) != ("HEAD", "GET"):
            raise ApiError(405, f"{path} takes {accepted} only", headers=allow)
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
            raise _too_large()
        await respond(scope, receive, send)

    def _not_found(self, path: str) -> ApiError:
        if path.startswith(f"{_MODELS}/"):
            return self._no_such_model(path.removeprefix(f"{_MODELS}/"))
        return ApiError(404, f"no such path: {path}", code="not_found")

    def _authorize(self, headers: dict[bytes, bytes]) -> None:
        """By OpenAI's header or Anthropic's."""
        if self._settings.api_key is None:
            return
        key = self._settings.api_key.encode()
        said = headers.get(b"authorization", b""), headers.get(b"x-api-key", b"")
        if any(map(hmac.compare_digest, said, (b"Bearer " + key, key))):
            return
        raise ApiError(401, "the API key is missing or wrong", code="invalid_api_key")

    async def _generate(self, scope: Event, receive: Receive, send: Send) -> None:
        dialect = _DIALECTS[scope["path"]]
        seat = self._seat(scope)
        try:
            body = await _read_body(receive, self._settings.body_timeout_s)
            answer, stream = await self._admit(seat, dialect, dialect.parse(body), _session(scope))
        except ApiError:
            seat.refused()
            raise
        del body  # a megabyte of messages that the stream does not need
        watching = asyncio.create_task(_wait_for_hangup(receive))
        watching.add_done_callback(lambda _: seat.cancel(stream))
        try:
            await (self._stream if answer.streamed else self._whole)(answer, stream, send)
        finally:
            watching.cancel()
            seat.cancel(stream)

    def _seat(self, scope: Event) -> Seat:
        """Raises ApiError."""
        if self._lead is None:
            return FreeSeat(self._live)
        return self._lead.seat(dict(scope["headers"]), self._live)

    async def _count_tokens(self, scope: Event, receive: Receive, send: Send) -> None:
        body = await _read_body(receive, self._settings.body_timeout_s)
        prompt = await self._read_prompt(parse_count(body))
        await self._respond(send, orjson.dumps({"input_tokens": prompt.num_tokens}))

    async def _admit(
        self, seat: Seat, dialect: _Dialect, request: Request, session: str | None
    ) -> tuple[Answer, Stream]:
        """Raises ApiError."""
        prompt = await self._read_prompt(request)
        num_tokens = self._output_tokens(request, prompt)
        answer = self._answer(dialect.answer, request, prompt, num_tokens)
        return answer, await self._submit(seat, answer, prompt, session)

    def _no_such_model(self, model: str) -> ApiError:
        message = f"the model {model[:80]!r} does not exist; this engine serves "
        message += repr(self._settings.model)
        return ApiError(404, message, param="model", code="model_not_found")

    async def _read_prompt(self, request: Request) -> Prompt:
        """Raises ApiError."""
        if request.model != self._settings.model:
            raise self._no_such_model(request.model)
        pieces = hash_pieces(request.tools, request.messages)
        while new := self._prompts.new_pieces(pieces):
            if num_bytes(new) < _THREAD_BYTES:
                self._prompts.remember(self._prompts.count(new))
                break
            loop = asyncio.get_running_loop()
            counted = await loop.run_in_executor(self._tokenising, self._prompts.count, new)
            # Others may have crowded out an old piece meanwhile: look again.
            self._prompts.remember(counted)
        return self._prompts.prompt(pieces)

    def _output_tokens(self, request: Request, prompt: Prompt) -> int:
        """max_tokens; where it is not given, the default or the rest of the context."""
        limit = self._settings.max_tokens
        asked = request.max_tokens or max(1, min(DEFAULT_MAX_TOKENS, limit - prompt.num_tokens))
        if prompt.num_tokens + asked <= limit:
            return asked
        message = (
            f"This model's maximum context length is {limit} tokens. However, you requested "
            f"{prompt.num_tokens + asked} tokens ({prompt.num_tokens} in the messages, {asked} in "
            "the completion)."
        )
        param = "messages" if prompt.num_tokens >= limit else "max_tokens"
        raise ApiError(400, message, param=param, code="context_length_exceeded")

    def _answer(
        self, form: type[Answer], request: Request, prompt: Prompt, num_tokens: int
    ) -> Answer:
        reply = draw_reply(
            self._settings.seed,
            prompt.gist,
            num_tokens,
            request.tools,
            request.tool_choice,
            request.reasoning_effort or self._settings.reasoning_effort,
            request.reasoning_budget,
        )
        return form(
            model=request.model,
            streamed=request.stream,
            usage_at_the_end=request.include_usage,
            usage_in_every_chunk=request.usage_in_every_chunk,
            max_tokens_given=request.max_tokens is not None,
            reply=reply,
            number=next(self._numbers),
            created=int(time.time()),
            prompt_tokens=prompt.num_tokens,
        )

    async def _submit(
        self, seat: Seat, answer: Answer, prompt: Prompt, session: str | None
    ) -> Stream:
        num_tokens = answer.reply.num_tokens
        output = output_segment(prompt, answer.history(), num_tokens)
        sequence = Sequence(
            id=answer.number,
            prompt_tokens=prompt.num_tokens,
            output_tokens=num_tokens,
            segments=(*prompt.segments, output),
            session=session,
        )
        try:
            return await seat.submit(sequence, answer.stop_reason)
        except QueueFull as error:
            raise ApiError(
                429,
                f"the queue is full: {error}",
                kind="rate_limit_error",
                code="rate_limit_exceeded",
                headers=((b"retry-after", b"%d" % RETRY_AFTER_S),),
            ) from None

    async def _stream(self, answer: Answer, stream: Stream, send: Send) -> None:
        await self._start(send, 200, (*_SSE, *self._named(stream)))
        written = 0
        while written < answer.reply.num_tokens:
            pieces = await stream.news()
            if stream.cancelled:
                return
            cache = self._cache_use(stream.sequence)
            events = [] if written else [answer.opening(cache)]
            for reached, at_s in pieces:
                events.append(answer.event(written, reached, cache, at_s))
                written = reached
            body = b"".join(events)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": answer.closing(cache)})

    async def _whole(self, answer: Answer, stream: Stream, send: Send) -> None:
        while not stream.finished:
            await stream.news()
            if stream.cancelled:
                return
        body = answer.whole(self._cache_use(stream.sequence))
        await self._respond(send, body, headers=(_JSON, *self._named(stream)))

    def _named(self, stream: Stream) -> Headers:
        """The replica that answers, as routers of replicas say it."""
        if not self._settings.replica_header:
            return ()
        return ((_REPLICA, b"%d" % stream.sequence.replica),)

    def _cache_use(self, sequence: Sequence) -> CacheUse:
        """The cache keeps full blocks: of the prompt, all that it did not hold."""
        read = sequence.cached_tokens or 0
        if not self._settings.preset.prefix_cache:
            return CacheUse(read, 0)
        full = sequence.prompt_tokens // BLOCK_TOKENS * BLOCK_TOKENS
        return CacheUse(read, max(0, full - read))

    async def _list_models(self, scope: Event, receive: Receive, send: Send) -> None:
        await self._respond(send, orjson.dumps({"object": "list", "data": [self._model()]}))

    async def _show_model(self, scope: Event, receive: Receive, send: Send) -> None:
        await self._respond(send, orjson.dumps(self._model()))

    def _model(self) -> dict[str, Any]:
        return {
            "id": self._settings.model,
            "object": "model",
            "created": self._created,
            "owned_by": f"{self._settings.preset.engine_name} (simulated)",
            "max_model_len": self._settings.max_tokens,
        }

    async def _health(self, scope: Event, receive: Receive, send: Send) -> None:
        await self._respond(send, b"{}", 200 if self.failure is None else 503)

    async def _exposition(self, scope: Event, receive: Receive, send: Send) -> None:
        replica = _replica(scope["query_string"], self._settings.preset.replicas)
        await self._respond(send, self._metrics.exposition(replica), headers=(_PROMETHEUS,))

    async def _info(self, scope: Event, receive: Receive, send: Send) -> None:
        await self._respond(send, orjson.dumps(self._describe(_last_s(scope["query_string"]))))

    async def _advance(self, scope: Event, receive: Receive, send: Send) -> None:
        assert self._lead is not None
        asked = json_object(await _read_body(receive, self._settings.body_timeout_s))
        if asked.get("begin") is True:
            self._metrics.reset()
        await self._respond(send, orjson.dumps(await self._lead.ask(asked)))

    async def _reset(self, scope: Event, receive: Receive, send: Send) -> None:
        """Raises ApiError (403) for a page of another site: browsers send such a POST unasked."""
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        if origin is not None and origin.partition(b"://")[2] != headers.get(b"host"):
            raise ApiError(403, "a page of another site may not do that", code="cross_site")
        self._live.reset()
        self._metrics.reset()
        await self._respond(send, orjson.dumps({"reset": True}))

    def _describe(self, last_s: float | None) -> dict[str, Any]:
        """/sim/info. The lateness is in wall seconds; None without an observation. attention: None
        where the pool is the limit of any layout; host_kv_tokens: 0 without a tier."""
        settings, preset = self._settings, self._settings.preset
        return {
            "simulated": True,
            "engine": preset.engine_name,
            "speed": settings.speed,
            "clock": "driven" if settings.driven else "wall",
            "seed": settings.seed,
            "gpus": preset.all_gpus,
            "replicas": preset.replicas,
            "router": preset.routing,
            "model": settings.model,
            "tokenizer": self._tokenizer_name,
            "context_tokens": settings.max_tokens,
            "kv_tokens": preset.kv_tokens,
            "host_kv_tokens": preset.host.kv_tokens if preset.host else 0,
            "attention": preset.memory.attention if preset.memory else None,
            "ranks": preset.policy.ranks,
            "block_tokens": BLOCK_TOKENS,
            "prefix_cache": preset.prefix_cache,
            "scheduling": preset.policy.mode,
            "chunk_tokens": preset.policy.chunk_tokens,
            "max_running": preset.policy.max_running,
            "queue_limit": preset.policy.queue_limit,
            "draft_tokens": preset.speculation.num_drafts,
            "acceptance": preset.speculation.acceptance,
            "reasoning_effort": settings.reasoning_effort,
            "ttft_fixed_s": preset.ttft_fixed_s,
            "engine_time_s": self._clock.now_s(),
            "running": self._fleet.num_running,
            "waiting": self._fleet.num_waiting,
            "lateness_p99_s": self._live.step_lateness.p99_s(last_s),
            "arrival_lateness_p99_s": self._live.arrival_lateness.p99_s(last_s),
        }

    async def _start(self, send: Send, status: int, headers: Headers) -> None:
        head = [*headers, *self._headers]
        await send({"type": "http.response.start", "status": status, "headers": head})

    async def _respond(
        self, send: Send, body: bytes, status: int = 200, headers: Headers = (_JSON,)
    ) -> None:
        await self._start(send, status, (*headers, (b"content-length", b"%d" % len(body))))
        await send({"type": "http.response.body", "body": body})


async def _read_body(receive: Receive, timeout_s: float) -> bytes:
    """Raises ApiError: 413 above MAX_BODY_BYTES (the server discards what still comes), 408 where
    it has not come within `timeout_s`; the connection then ends, for its rest may never come."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _whole_body(receive)
    except TimeoutError:
        message = f"the body did not come within {timeout_s:g} s"
        close = ((b"connection", b"close"),)
        raise ApiError(408, message, code="request_timeout", headers=close) from None


async def _whole_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _ClientGone
        parts.append(event.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise _too_large()
        if not event.get("more_body"):
            return b"".join(parts)


def _last_s(query: bytes) -> float | None:
    """The stretch that /sim/info is asked about; None for all since the start or reset."""
    given = parse_qs(query.decode("latin-1")).get("last_s")
    if given is None:
        return None
    try:
        last_s = float(given[-1])
    except ValueError:
        last_s = -1.0
    if not 0 <= last_s < float("inf"):
        raise invalid("last_s", given[-1], "wall seconds of at least 0")
    return last_s


def _replica(query: bytes, replicas: int) -> int | None:
    """The replica that /metrics is asked about; None for all. Raises ApiError."""
    given = parse_qs(query.decode("latin-1")).get("replica")
    if given is None:
        return None
    if not (given[-1].isdecimal() and int(given[-1]) < replicas):
        raise invalid("replica", given[-1], f"0 to {replicas - 1}")
    return int(given[-1])


def _session(scope: Event) -> str | None:
    """As the request's header names it."""
    said: bytes | None = dict(scope["headers"]).get(_SESSION)
    return None if said is None else said.decode("latin-1")


async def _wait_for_hangup(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _too_large() -> ApiError:
    message = f"the body is larger than {MAX_BODY_BYTES // 1024**2} MB"
    return ApiError(413, message, code="request_too_large")
