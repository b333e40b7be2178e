"""The HTTP surface: routes around the live engine, OpenAI's and Anthropic's API and our own."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tokenswarm.engine.core.fleet import Fleet
from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.server.answer import Answer
from tokenswarm.engine.server.body import read_body
from tokenswarm.engine.server.chat.answer import ChatAnswer
from tokenswarm.engine.server.chat.request import parse_request as parse_chat
from tokenswarm.engine.server.clock import VirtualClock
from tokenswarm.engine.server.delivery import Delivery
from tokenswarm.engine.server.errors import ApiError, invalid
from tokenswarm.engine.server.fields import json_object
from tokenswarm.engine.server.generation import Generation
from tokenswarm.engine.server.lead import FreeSeat, Lead, Seat
from tokenswarm.engine.server.live import LiveEngine
from tokenswarm.engine.server.messages.answer import MessagesAnswer, error_body
from tokenswarm.engine.server.messages.request import parse_count
from tokenswarm.engine.server.messages.request import parse_request as parse_message
from tokenswarm.engine.server.metrics import EngineMetrics
from tokenswarm.engine.server.prompt_tokens import TokenCounter
from tokenswarm.engine.server.reply_text import arguments_tape, content_tape
from tokenswarm.engine.server.request import Request as GenerationRequest
from tokenswarm.engine.server.responses.answer import ResponsesAnswer
from tokenswarm.engine.server.responses.request import parse_request as parse_response
from tokenswarm.engine.server.settings import Settings

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_MESSAGES = "/v1/messages"
_SESSION = "x-session-id"  # what a sticky router goes by
_REPLICA = "x-replica"

Endpoint = Callable[[Request], Awaitable[ASGIApp]]


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a request is read and its answer written."""

    parse: Callable[[bytes], GenerationRequest]
    answer: type[Answer]


_DIALECTS = {
    "/v1/chat/completions": _Dialect(parse_chat, ChatAnswer),
    _MESSAGES: _Dialect(parse_message, MessagesAnswer),
    "/v1/responses": _Dialect(parse_response, ResponsesAnswer),
}


class EngineApp:
    """The ASGI application. `failure` is set when the engine loop died: a bug."""

    def __init__(self, settings: Settings, counter: TokenCounter) -> None:
        self.failure: BaseException | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self._settings = settings
        self._tokenizer_name = counter.name
        self._generation = Generation(settings, counter)
        self._metrics = EngineMetrics(
            settings.model, settings.preset.engine_name, settings.preset.replicas
        )
        self._clock = VirtualClock(settings.speed)
        self._live = LiveEngine(settings.preset.fleet(settings.seed), self._clock, self._metrics)
        self._metrics.attach(self._live, lambda: self._fleet)
        self._lead = Lead(self._new_fleet, self._metrics) if settings.driven else None
        self._created = int(time.time())
        self._headers = {
            "x-sim-speed": f"{settings.speed:g}",
            "x-sim-engine": settings.preset.engine_name,
        }
        self._app = Starlette(
            routes=self._routes(),
            middleware=[Middleware(_KeyRequired, key=settings.api_key, headers=self._headers)],
            exception_handlers={ApiError: self._refuse, HTTPException: self._refuse_route},
            lifespan=self._lifespan,
        )
        self._app.router.redirect_slashes = False

    def _routes(self) -> list[Route]:
        routes = [
            *(_route("POST", path, self._generate) for path in _DIALECTS),
            _route("POST", f"{_MESSAGES}/count_tokens", self._count_tokens),
            _route("GET", "/v1/models", self._list_models),
            _route("GET", "/v1/models/{model:path}", self._show_model),
            _route("GET", "/health", self._health),
            _route("GET", "/metrics", self._exposition),
            _route("GET", "/sim/info", self._info),
            _route("POST", "/sim/reset", self._reset),
        ]
        if self._lead is not None:
            routes.append(_route("POST", "/sim/advance", self._advance))
        return routes

    def _new_fleet(self, seed: int | None) -> Fleet:
        return self._settings.preset.fleet(self._settings.seed if seed is None else seed)

    @property
    def _fleet(self) -> Fleet:
        """The one that serves: in driven time a run has one of its own."""
        led = self._lead.engine if self._lead is not None else None
        return self._live.fleet if led is None else led.fleet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            return  # before its request was complete

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        content_tape(), arguments_tape()  # built now, not under the first request
        stepping = asyncio.create_task(self._live.run())
        stepping.add_done_callback(self._stopped)
        yield
        stepping.cancel()
        if self._lead is not None:
            self._lead.close()
        self._generation.close()

    def _stopped(self, stepping: asyncio.Task[None]) -> None:
        if not stepping.cancelled():
            self.failure = stepping.exception()
            self.on_failure()

    async def _refuse(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return _refusal(request.url.path, error, self._headers)

    async def _refuse_route(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.url.path
        if error.status_code == 404:
            refused = ApiError(404, f"no such path: {path}", code="not_found")
        else:
            allow = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
            refused = ApiError(405, f"{path} takes {allow} only", headers={"allow": allow})
        return _refusal(path, refused, self._headers)

    async def _generate(self, request: Request) -> ASGIApp:
        dialect = _DIALECTS[request.url.path]
        seat = self._seat(request)
        session = request.headers.get(_SESSION)
        try:
            body = await read_body(request, self._settings.body_timeout_s)
            answer, stream = await self._generation.begin(
                seat, dialect.answer, dialect.parse(body), session
            )
        except ApiError:
            seat.refused()
            raise
        headers = dict(self._headers)
        if self._settings.replica_header:  # the one that answers, as routers of replicas say it
            headers[_REPLICA] = str(stream.sequence.replica)
        return Delivery(seat, answer, stream, self._generation.cache_use, headers)

    def _seat(self, request: Request) -> Seat:
        """Raises ApiError."""
        if self._lead is None:
            return FreeSeat(self._live)
        return self._lead.seat(request.headers, self._live)

    async def _count_tokens(self, request: Request) -> Response:
        body = await read_body(request, self._settings.body_timeout_s)
        prompt = await self._generation.read_prompt(parse_count(body))
        return self._json({"input_tokens": prompt.num_tokens})

    async def _list_models(self, _request: Request) -> Response:
        return self._json({"object": "list", "data": [self._model()]})

    async def _show_model(self, request: Request) -> Response:
        self._generation.require_model(request.path_params["model"])
        return self._json(self._model())

    def _model(self) -> dict[str, Any]:
        return {
            "id": self._settings.model,
            "object": "model",
            "created": self._created,
            "owned_by": f"{self._settings.preset.engine_name} (simulated)",
            "max_model_len": self._settings.max_tokens,
        }

    async def _health(self, _request: Request) -> Response:
        return self._json({}, 200 if self.failure is None else 503)

    async def _exposition(self, request: Request) -> Response:
        page = self._metrics.exposition(_replica(request, self._settings.preset.replicas))
        return Response(page, headers={"content-type": _PROMETHEUS, **self._headers})

    async def _info(self, request: Request) -> Response:
        return self._json(self._describe(_last_s(request)))

    async def _advance(self, request: Request) -> Response:
        assert self._lead is not None
        asked = json_object(await read_body(request, self._settings.body_timeout_s))
        if asked.get("begin") is True:
            self._metrics.reset()
        return self._json(await self._lead.ask(asked))

    async def _reset(self, request: Request) -> Response:
        """Raises ApiError (403) for a page of another site: browsers send such a POST unasked."""
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
            raise ApiError(403, "a page of another site may not do that", code="cross_site")
        self._live.reset()
        self._metrics.reset()
        return self._json({"reset": True})

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

    def _json(self, value: object, status: int = 200) -> Response:
        return _json(orjson.dumps(value), status, self._headers)


class _KeyRequired:
    """By OpenAI's header or Anthropic's, on every path of theirs."""

    def __init__(self, app: ASGIApp, key: str | None, headers: dict[str, str]) -> None:
        self._app = app
        self._key = None if key is None else key.encode()
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if self._key is not None and scope["type"] == "http" and not self._admits(scope, self._key):
            error = ApiError(401, "the API key is missing or wrong", code="invalid_api_key")
            app = _refusal(scope["path"], error, self._headers)
        await app(scope, receive, send)

    @staticmethod
    def _admits(scope: Scope, key: bytes) -> bool:
        if scope["method"] == "OPTIONS" or not scope["path"].startswith("/v1/"):
            return True
        said = dict(scope["headers"])
        given = said.get(b"authorization", b""), said.get(b"x-api-key", b"")
        return any(map(hmac.compare_digest, given, (b"Bearer " + key, key)))


def _route(method: str, path: str, endpoint: Endpoint) -> Route:
    async def respond(request: Request) -> ASGIApp:
        if request.method != "OPTIONS":
            return await endpoint(request)
        methods = ", ".join(sorted(route.methods or ()))
        return Response(status_code=204, headers={"allow": methods})

    route = Route(path, respond, methods=[method, "OPTIONS"])
    return route


def _refusal(path: str, error: ApiError, headers: dict[str, str]) -> Response:
    """In the form of the API that the path is of."""
    body = error_body(error) if path.startswith(_MESSAGES) else error.body()
    return _json(body, error.status, {**error.headers, **headers})


def _json(body: bytes, status: int, headers: dict[str, str]) -> Response:
    return Response(body, status, {"content-type": "application/json", **headers})


def _last_s(request: Request) -> float | None:
    """The stretch that /sim/info is asked about; None for all since the start or reset."""
    given = request.query_params.get("last_s")
    if given is None:
        return None
    try:
        last_s = float(given)
    except ValueError:
        last_s = -1.0
    if not 0 <= last_s < float("inf"):
        raise invalid("last_s", given, "wall seconds of at least 0")
    return last_s


def _replica(request: Request, replicas: int) -> int | None:
    """The replica that /metrics is asked about; None for all. Raises ApiError."""
    given = request.query_params.get("replica")
    if given is None:
        return None
    if not (given.isdecimal() and int(given) < replicas):
        raise invalid("replica", given, f"0 to {replicas - 1}")
    return int(given)
